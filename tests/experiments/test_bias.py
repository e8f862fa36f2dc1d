"""Unequal shares of two groups: draws and weights that balance, ratios, what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.experiments import bias
from pyneural.experiments.bias import Ratio, SETTINGS, TwoGroups, two_groups
from pyneural.models import Autoencoder
from tests.two_processes import run_on_two_processes

MORE, SAME, LESS = Ratio(1.8, 1.6, 2.0), Ratio(1.0, 0.9, 1.1), Ratio(0.5, 0.4, 0.6)


def two_lines(steps=60, total=100):
    """Points near two lines in the space of four numbers, which one latent variable can't be both of.

    Group 1 is noisier: it has the larger error whatever the shares are.
    """
    generator = torch.Generator().manual_seed(0)
    x, group = [], torch.tensor([0, 1]).repeat(200)
    axes = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    size = torch.randn(400, 1, generator=generator)
    noise = torch.tensor([0.02, 0.1])[group, None]
    x = size * axes[group] + noise * torch.randn(400, 4, generator=generator)
    return TwoGroups(
        "lines", ("quiet", "noisy"), x[:200], x[:200], group[:200], x[200:], x[200:], group[200:],
        (0, 1), (1, 2, 2), partial(Autoencoder, [4, 1], "linear"), total=total, steps=steps,
        batch=20, rate=2e-2,
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
    problem = replace(two_lines(), batch=400)
    rows = bias.drawn_rows(problem.group, (95, 5), seed=0)
    even, balanced = torch.ones(100), bias.balancing_weights(problem.group[rows])
    seen = {}

    def make():
        class Spy(Autoencoder):
            def fit(self, batches, **options):
                seen["x"], seen["y"], seen["weight"] = next(batches)

        return Spy([4, 1], "linear")

    two_groups.train(replace(problem, model=make), rows, repair, seed=0)
    minority = {tuple(row) for row in problem.x[rows][95:].tolist()}
    drawn = torch.tensor([tuple(row) in minority for row in seen["x"].tolist()])
    assert torch.equal(seen["x"], seen["y"])
    expected = 0.5 if repair == "resampling" else 0.05
    assert drawn.double().mean().item() == pytest.approx(expected, abs=3 * (0.25 / 400) ** 0.5)
    if repair == "weights":
        assert seen["weight"][drawn].unique().tolist() == [balanced[-1].item()] == [10.0]
        assert seen["weight"][~drawn].unique().item() == pytest.approx(100 / 190)
    else:
        assert torch.equal(seen["weight"], torch.ones(400))
    assert even.sum() == balanced.sum() == 100


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
    found = bias.ratio(x, y)
    logs = [math.log(a / b) for a, b in zip(x, y, strict=True)]
    interval = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert found.low == pytest.approx(math.exp(interval.low))
    assert found.high == pytest.approx(math.exp(interval.high))
    assert found.mean == pytest.approx(stats.gmean(x) / stats.gmean(y))
    # Seeds differ far more than pairs do.
    assert found.low > 1 > stats.ttest_ind(x, y).pvalue - 0.05


def test_one_seed_tells_nothing():
    pytest.importorskip("scipy")
    found = bias.ratio([2.0], [1.0])
    assert (found.low, found.high) == (0.0, math.inf)
    assert found.says("above", "below", "between") == "between"
    assert str(found) == "2.00 (one seed)"


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
        ({"gains": LESS, "remains": MORE}, "r 1.80 (1.60 to 2.00): helps, bias remains"),
        ({"gains": LESS}, "r 1.00 (0.90 to 1.10): helps, can't tell if bias remains"),
        ({}, "r 1.00 (0.90 to 1.10): can't tell if it helps or if bias remains"),
        ({"gains": MORE}, "r 1.00 (0.90 to 1.10): makes it worse, can't tell if bias remains"),
        ({"costs": MORE}, "  costs this group 80% where it is the majority"),
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
    low, high = {"50:50": [0.10, 0.11, 0.12]}, {"50:50": [0.20, 0.22, 0.24]}
    assert bias.harder(("a", "b"), low, high).endswith("b are harder, which is no bias")
    assert bias.harder(("a", "b"), high, low).endswith("a are harder, which is no bias")
    assert bias.harder(("a", "b"), low, low).endswith("can't tell which are harder") is False


def test_minority_on_data_made_to_show_it(tmp_path):
    """One latent variable follows the majority; the balanced control says what is hardness."""
    pytest.importorskip("scipy")
    problem = two_lines()
    rows = bias.run_bias([problem], range(3), tmp_path / "bias.json", verbose=False)
    assert len(rows) == 3 * len(SETTINGS)
    for number in (0, 1):
        errors = bias.errors_of(rows, "lines", number)
        assert {len(values) for values in errors.values()} == {3}
        found = bias.group_bias("line", errors, number)
        assert found.minority.low > 1
        assert found.majority.high < 1
        assert found.gains["reweighted"].high < 1
        assert found.gains["resampled"].high < 1
        for repair in ("reweighted", "resampled"):
            assert found.remains[repair].low < 1.3
    shown = [row for row in rows if "shown" in row]
    assert {row["seed"] for row in shown} == {0}
    assert len(shown) == len(SETTINGS)
    # A second call reads the file.
    again = bias.run_bias([problem], range(3), tmp_path / "bias.json", verbose=False)
    assert again == rows


def test_measure_is_the_error_of_each_group():
    problem = two_lines(steps=1)
    perfect = replace(problem, model=lambda: Autoencoder([4, 4], "linear"))
    found = bias.measure(problem, SETTINGS[0], 0)
    made = two_groups.train(
        problem, bias.drawn_rows(problem.group, (50, 50), 0), "none", 0
    ).predict(problem.x_test).clamp(0, 1)  # fmt: skip
    for number in (0, 1):
        members = problem.group_test == number
        expected = (made[members] - problem.y_test[members]).square().mean().sqrt()
        assert found[f"error_{number}"] == pytest.approx(expected.item(), rel=1e-6)
    assert "shown" not in found
    pixels = bias.measure(perfect, SETTINGS[0], 0, shown=True)["shown"]
    assert len(pixels) == 2
    assert all(0 <= value <= 255 and isinstance(value, int) for row in pixels for value in row)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: bias.drawn_rows(torch.tensor([0, 1]), (1, 2), 0), "at most 1 and 1 images, got"),
        (lambda: bias.drawn_rows(torch.tensor([0, 1]), (1, -1), 0), "at most 1 and 1 images, got"),
        (lambda: bias.drawn_rows(torch.tensor([0, 2]), (1, 0), 0), "whole numbers 0 and 1, got"),
        (lambda: bias.balancing_weights(torch.tensor([0, 0])), "images of both groups, got"),
        (lambda: bias.balancing_weights(torch.tensor([0.0, 1.0])), "whole numbers 0 and 1"),
        (lambda: bias.train(two_lines(), torch.arange(9), "weight", 0), "'none', 'weights' or"),
        (lambda: bias.ratio([1.0], [1.0, 2.0]), "errors of the same seeds, got 1 and 2"),
        (lambda: bias.ratio([], []), "errors of the same seeds"),
        (lambda: bias.ratio([1.0, math.nan], [1.0, 2.0]), "positive errors"),
        (lambda: bias.ratio([1.0, 0.0], [1.0, 2.0]), "positive errors"),
        (lambda: bias.run_bias([two_lines()], []), "seeds: expected at least one, got none"),
        (lambda: bias.run_bias([two_lines(total=300)], [0]), "at most 100 and 100 images"),
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
from tests.experiments.test_bias import two_lines
out = Path(sys.argv[1])
rows = bias.run_bias([two_lines(steps=3)], [0], out / "bias.json", verbose=False)
import os
text = json.dumps([[row["setting"], row["error_0"], row["error_1"]] for row in rows])
(out / f"rows{os.environ['RANK']}").write_text(text)
"""


def test_processes_share_the_trainings(tmp_path):
    run_on_two_processes(SHARED, tmp_path)
    alone = bias.run_bias([two_lines(steps=3)], [0], verbose=False)
    found = [[row["setting"], row["error_0"], row["error_1"]] for row in alone]
    import json

    for rank in (0, 1):
        shared = json.loads((tmp_path / f"rows{rank}").read_text())
        for mine, theirs in zip(found, shared, strict=True):
            assert mine[0] == theirs[0]
            assert mine[1:] == pytest.approx(theirs[1:], rel=1e-4)
