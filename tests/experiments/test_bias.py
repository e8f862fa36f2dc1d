"""Unequal shares of two groups: draws and weights that balance, ratios, what they say."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.experiments import Ratio, bias, ratio
from pyneural.experiments.bias import SETTINGS, TwoGroups, two_groups
from pyneural.training import Model
from tests.processes import run_on_two_processes

LEVELS, NOISE = (0.2, 0.8), 0.06
MORE, LESS = Ratio(1.8, 1.6, 2.0, p=0.001), Ratio(0.5, 0.4, 0.6, p=0.001)
SAME = Ratio(1.0, 0.9, 1.1, p=0.9)


def two_levels(steps=80, total=200):
    """Group 0 is 0.2, group 1 is 0.8, and the model a constant: the mean of what it sees.

    Group 1 has noise besides: it has the larger error whatever the shares are.
    """
    group = torch.tensor([0, 1]).repeat(300)
    generator = torch.Generator().manual_seed(0)
    noise = torch.tensor([0.0, NOISE])[group, None]
    y = torch.tensor(LEVELS)[group, None] + noise * torch.randn(600, 4, generator=generator)
    parts = [part for half in (slice(0, 400), slice(400, 600)) for part in
             (torch.zeros(600, 4)[half], y[half].clamp(0, 1), group[half])]  # fmt: skip
    return TwoGroups(
        "levels", ("quiet", "noisy"), *parts, (0, 1), (1, 2, 2),
        lambda: Model(torch.nn.Linear(4, 4)), total=total, steps=steps, batch=200, rate=0.1,
    )  # fmt: skip


def test_draws_have_the_counts_and_are_nested():
    group = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1, 1])
    rows = bias.drawn_rows(group, (2, 5), seed=3)
    assert group[rows].tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert len(rows.unique()) == 7
    few = bias.drawn_rows(group, (1, 3), seed=3)
    assert set(few.tolist()) < set(rows.tolist())
    assert rows.tolist() == bias.drawn_rows(group, (2, 5), seed=3).tolist()
    assert any(rows.tolist() != bias.drawn_rows(group, (2, 5), seed).tolist() for seed in range(3))


def test_weights_balance():
    group = torch.tensor([0] * 19 + [1])
    weight = bias.balancing_weights(group)
    assert weight[:19].sum().item() == pytest.approx(10, rel=1e-6)
    assert weight[19].item() == pytest.approx(10)
    assert torch.equal(bias.balancing_weights(torch.tensor([1, 0, 1, 0])), torch.ones(4))


@pytest.mark.parametrize("repair", ["none", "weights", "resampling"])
def test_what_a_training_sees(repair):
    """The part of the minority in the images that are drawn, and in the loss."""
    problem = replace(two_levels(), batch=400)
    rows = bias.drawn_rows(problem.group, (95, 5), seed=0)
    seen = {}

    class Spy(Model):
        def fit(self, batches, **options):
            seen["y"], seen["weight"] = next(batches)[1:]

    make = lambda: Spy(torch.nn.Linear(4, 4))  # noqa: E731
    two_groups.train(replace(problem, model=make), rows, repair, seed=0)
    minority = seen["y"].mean(1) > 0.5
    share = 0.5 if repair == "resampling" else 0.05
    deviation = (share * (1 - share) / 400) ** 0.5
    assert minority.double().mean().item() == pytest.approx(share, abs=3 * deviation)
    assert len(seen["y"][minority].unique(dim=0)) <= 5
    heavy, light = (10.0, 100 / 190) if repair == "weights" else (1.0, 1.0)
    assert seen["weight"][minority].unique().item() == pytest.approx(heavy)
    assert seen["weight"][~minority].unique().item() == pytest.approx(light)


def test_settings_share_out_the_images():
    counts = {setting.name: setting.counts(200) for setting in SETTINGS}
    assert counts["50:50"] == (100, 100)
    assert counts["95:5"] == counts["95:5 reweighted"] == counts["95:5 resampled"] == (190, 10)
    assert counts["5:95"] == counts["5:95 reweighted"] == counts["5:95 resampled"] == (10, 190)
    assert counts["5:5"] == (10, 10)
    assert len(counts) == len(SETTINGS) == 8
    repairs = [setting.repair for setting in SETTINGS]
    assert repairs.count("weights") == repairs.count("resampling") == 2


def test_ratio_is_the_paired_interval_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    x, y = [0.20, 0.31, 0.22, 0.45], [0.11, 0.15, 0.10, 0.21]
    found = ratio(x, y)
    logs = [math.log(a / b) for a, b in zip(x, y, strict=True)]
    interval = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert found.low == pytest.approx(math.exp(interval.low))
    assert found.high == pytest.approx(math.exp(interval.high))
    assert found.mean == pytest.approx(stats.gmean(x) / stats.gmean(y))


def test_one_seed_tells_nothing():
    pytest.importorskip("scipy")
    found = ratio([2.0], [1.0])
    assert (found.low, found.high) == (0.0, math.inf)
    assert found.says("above", "below", "between") == "between"
    assert str(found) == "2.00 (no spread)"
    assert str(ratio([2.0, 2000.0], [1.0, 1.0])) == "63.25 (5.5e-18 to 7.2e+20)"


def test_ratios_of_a_group_take_its_own_controls():
    pytest.importorskip("scipy")
    names = [setting.name for setting in SETTINGS]
    errors = {name: [float(i)] for i, name in enumerate(names, 1)}
    for number, (minority, majority) in enumerate([("5:95", "95:5"), ("95:5", "5:95")]):
        found = bias.group_bias("g", errors, number)
        of = {name: values[0] for name, values in errors.items()}
        assert found.minority.mean == pytest.approx(of[minority] / of["50:50"])
        assert found.crowding.mean == pytest.approx(of[minority] / of["5:5"])
        assert found.majority.mean == pytest.approx(of[majority] / of["50:50"])
        for repair in ("reweighted", "resampled"):
            repaired = of[f"{minority} {repair}"]
            assert found.remains[repair].mean == pytest.approx(repaired / of["50:50"])
            assert found.gains[repair].mean == pytest.approx(repaired / of[minority])
            price = of[f"{majority} {repair}"] / of[majority]
            assert found.costs[repair].mean == pytest.approx(price)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"minority": MORE}, "as 5 % of the images 1.80 (1.60 to 2.00): the bias is in the data"),
        ({"minority": SAME}, "as 5 % of the images 1.00 (0.90 to 1.10): can't tell"),
        ({"minority": LESS}, "as 5 % of the images 0.50 (0.40 to 0.60): fewer do no harm"),
        ({"crowding": MORE}, "against as few of both 1.80 (1.60 to 2.00): the majority does harm"),
        ({"crowding": LESS}, "against as few of both 0.50 (0.40 to 0.60): the majority helps"),
        ({"gains": LESS, "remains": MORE}, "r 1.80 (1.60 to 2.00): helps by 50.0 %, bias remains"),
        ({"gains": LESS}, "r 1.00 (0.90 to 1.10): helps by 50.0 %, bias may remain"),
        ({}, "r 1.00 (0.90 to 1.10): no clear effect, bias may remain"),
        ({"gains": MORE}, "r 1.00 (0.90 to 1.10): 80.0 % worse, bias may remain"),
        ({"costs": MORE}, "  costs this group 80 % as the majority"),
    ],
)
def test_conclusions(change, sentence):
    same = bias.GroupBias("g", SAME, SAME, SAME, {"r": SAME}, {"r": SAME}, {"r": SAME})
    change = {
        name: {"r": value} if name in ("gains", "remains", "costs") else value
        for name, value in change.items()
    }
    assert sentence in bias.conclusions(replace(same, **change))


def test_harder_is_no_bias():
    pytest.importorskip("scipy")
    assert bias.harder(("a", "b"), LESS).endswith("b are harder, which is no bias")
    assert bias.harder(("a", "b"), MORE).endswith("a are harder, which is no bias")
    assert bias.harder(("a", "b"), SAME).endswith("can't tell which are harder")


def test_all_that_is_concluded_is_corrected_together():
    group = bias.GroupBias("g", MORE, SAME, MORE, {"r": LESS}, {"r": MORE}, {"r": MORE})
    (first, second), (other,) = bias.judged_together([group, group], [MORE])
    changed = [first.minority, first.remains["r"], first.gains["r"], first.costs["r"], other]
    assert [one.p for one in changed] == pytest.approx([0.011] * 5)  # 11 ratios
    assert first == second
    assert first.crowding.p == 1.0
    assert first.majority == MORE  # of which nothing is concluded
    assert (first.minority.mean, first.remains["r"].mean, first.crowding.mean) == (1.8, 0.5, 1.0)


@pytest.mark.filterwarnings("ignore:fit. the loss became nan")
def test_seeds_of_which_a_training_diverged_are_left_out_everywhere(tmp_path):
    hot = replace(two_levels(steps=3), rate=1e30)
    rows = bias.run_bias([hot], [0], verbose=False)
    assert {row["error_0"] for row in rows} == {None}
    assert bias.diverged_seeds(rows, "levels") == [0]
    with pytest.raises(ArgumentError, match=r"errors_of: rows of levels: .* got none; .*rate"):
        bias.errors_of(rows, "levels", 0)
    good = [row | {"seed": 1, "error_0": 0.5, "error_1": 0.5} for row in rows]
    good[3]["seed"] = 2  # seed 2 has one training, which did not diverge
    found = bias.errors_of([*rows, *good], "levels", 1)
    assert {len(values) for values in found.values()} == {1}


def test_errors_by_hand(tmp_path):
    """The constant is the mean with the shares that a training has seen."""
    pytest.importorskip("scipy")
    problem = two_levels()
    rows = bias.run_bias([problem], range(3), tmp_path / "bias.json", verbose=False)
    assert len(rows) == 3 * len(SETTINGS)
    for number, noise in enumerate((0.0, NOISE)):
        errors = bias.errors_of(rows, "levels", number)
        assert {len(values) for values in errors.values()} == {3}
        for name, values in errors.items():
            repaired = name.endswith("d") or name in ("50:50", "5:5")
            share = 0.5 if repaired else int(name.split(":")[number]) / 100
            expected = (((1 - share) * 0.6) ** 2 + noise**2) ** 0.5
            assert values == pytest.approx([expected] * 3, rel=0.12, abs=0.02), name
        found = bias.group_bias("level", errors, number)
        assert found.minority.low > 1.5
        assert found.crowding.low > 1.5
        assert found.majority.high < 1
        for repair in ("reweighted", "resampled"):
            assert found.gains[repair].high < 0.7
            assert found.costs[repair].low > 1.5
            assert found.remains[repair].mean == pytest.approx(1, abs=0.1)
    assert {row["seed"] for row in rows if "shown" in row} == {0}
    # A second call reads the file.
    assert bias.run_bias([problem], range(3), tmp_path / "bias.json", verbose=False) == rows


def test_measure_is_the_error_of_each_group():
    problem = two_levels(steps=1)
    found = bias.measure(problem, SETTINGS[0], 0, shown=True)
    rows = bias.drawn_rows(problem.group, (100, 100), 0)
    made = two_groups.train(problem, rows, "none", 0).predict(problem.x_test).clamp(0, 1)
    for number in (0, 1):
        members = problem.group_test == number
        expected = (made[members] - problem.y_test[members]).square().mean().sqrt()
        assert found[f"error_{number}"] == pytest.approx(expected.item(), rel=1e-6)
    assert found["shown"] == (255 * made[:2]).round().int().tolist()
    assert "shown" not in bias.measure(problem, SETTINGS[0], 0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: bias.drawn_rows(torch.tensor([0, 1]), (1, 2), 0), "at most 1 and 1 images, got"),
        (lambda: bias.drawn_rows(torch.tensor([0, 1]), (1, -1), 0), "at most 1 and 1 images, got"),
        (lambda: bias.drawn_rows(torch.tensor([0, 2]), (1, 0), 0), "whole numbers 0 and 1, got"),
        (lambda: bias.balancing_weights(torch.tensor([0, 0])), "images of both groups, got"),
        (lambda: bias.balancing_weights(torch.tensor([0.0, 1.0])), "whole numbers 0 and 1"),
        (lambda: bias.train(two_levels(), torch.arange(9), "weight", 0), "'none', 'weights' or"),
        (lambda: ratio([1.0], [1.0, 2.0]), "values of the same seeds, got 1 and 2"),
        (lambda: ratio([], []), "values of the same seeds"),
        (lambda: ratio([1.0, math.nan], [1.0, 2.0]), "finite numbers > 0"),
        (lambda: ratio([1.0, 0.0], [1.0, 2.0]), "finite numbers > 0"),
        (lambda: bias.run_bias([two_levels()], []), "seeds: expected at least one, got none"),
        (lambda: bias.run_bias([two_levels(total=600)], [0]), "at most 200 and 200 images"),
    ],
)
def test_refused(call, text):
    with pytest.raises(ArgumentError, match=text):
        call()


def test_groups_of_digits():
    pytest.importorskip("sklearn")
    problem = bias.digit_groups()
    assert problem.group.bincount().tolist() == [571, 722]
    assert problem.group_test[list(problem.shown)].tolist() == [0] * 4 + [1] * 5
    for setting in SETTINGS:
        bias.drawn_rows(problem.group, setting.counts(problem.total), 0)
    assert problem.model()(problem.x[:2]).shape == problem.y[:2].shape


def test_groups_of_hubble():
    pytest.importorskip("skimage")
    problem = bias.hubble_groups()
    assert problem.group_test[list(problem.shown)].tolist() == [0] * 4 + [1] * 4
    for setting in SETTINGS:
        bias.drawn_rows(problem.group, setting.counts(problem.total), 0)
    assert problem.model()(problem.x[:2]).shape == problem.y[:2].shape
    means = problem.y[:2].unflatten(2, (4, 4)).unflatten(4, (4, 4)).mean((3, 5))
    torch.testing.assert_close(problem.x[:2], means)


SHARED = """
import json, sys
from pathlib import Path
from pyneural.experiments import bias
from tests.experiments.test_bias import two_levels
out = Path(sys.argv[1])
rows = bias.run_bias([two_levels(steps=3)], [0], out / "bias.json", verbose=False)
import os
text = json.dumps([[row["setting"], row["error_0"], row["error_1"]] for row in rows])
(out / f"rows{os.environ['RANK']}").write_text(text)
"""


def test_processes_share_the_trainings(tmp_path):
    run_on_two_processes(SHARED, tmp_path)
    alone = bias.run_bias([two_levels(steps=3)], [0], verbose=False)
    found = [[row["setting"], row["error_0"], row["error_1"]] for row in alone]
    for rank in (0, 1):
        shared = json.loads((tmp_path / f"rows{rank}").read_text())
        for mine, theirs in zip(found, shared, strict=True):
            assert mine[0] == theirs[0]
            assert mine[1:] == pytest.approx(theirs[1:], rel=1e-4)
