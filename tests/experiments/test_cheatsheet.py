"""The sweeps of the cheatsheet: the task, the trainings, the table and the judgement."""

import math
from dataclasses import replace

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.experiments.cheatsheet import RULES, Setup, judge, rows_of, sweep_cells, train
from pyneural.experiments.cheatsheet.training import CLASSIFICATION, _error, draw

SHORT = Setup(epochs=2, width=4)


def test_task():
    x, y = draw(SHORT, 4000, seed=0)
    assert x.shape == (4000, 20)
    assert float(y.mean()) == pytest.approx(0, abs=0.05)
    assert float(y.std()) == pytest.approx(1, abs=0.03)
    _, share = draw(replace(SHORT, loss="binary_crossentropy"), 4000, seed=0)
    torch.testing.assert_close((share - 0.5) * math.sqrt(12), y)
    _, classes = draw(replace(SHORT, task=CLASSIFICATION), 4000, seed=0)
    assert torch.equal(classes, (y > 0).float())
    mixed, _ = draw(replace(SHORT, scaled=False), 4000, seed=0)
    ratios = (mixed / x).median(0).values
    assert float(ratios.max() / ratios.min()) == pytest.approx(1000, rel=1e-3)


def test_training_depends_on_its_seed_alone():
    first = train(SHORT, seed=3)
    torch.rand(5)
    again, other = train(SHORT, seed=3), train(SHORT, seed=4)
    assert first["held_out_curve"] == again["held_out_curve"] != other["held_out_curve"]


def test_errors_are_those_of_the_weights_at_the_end():
    found = train(Setup(epochs=30), seed=0)
    assert found["training"] == found["training_curve"][-1] < 0.5
    assert found["training"] < found["held_out"] < 0.6
    assert len(found["held_out_curve"]) == 30
    below = [epoch for epoch, error in enumerate(found["training_curve"], 1) if error < 0.4]
    assert found["target_epochs"] == below[0]
    assert found["target_seconds"] == pytest.approx(below[0] * found["epoch_seconds"])


def test_loss_between_0_and_1_has_the_same_error():
    setup = Setup(epochs=30, loss="binary_crossentropy", last="sigmoid")
    assert 0.2 < train(setup, seed=0)["held_out"] < 0.7


def test_divergence_is_a_guess():
    setup = Setup(epochs=3, optimizer="sgd", rate=1e6)
    assert train(setup, seed=0)["held_out"] == 1.0
    classes = replace(setup, task=CLASSIFICATION, loss="mean_squared_error")
    assert train(classes, seed=0)["held_out"] == 0.5


def test_error_of_classes():
    setup = Setup(CLASSIFICATION, loss="binary_crossentropy", last="sigmoid")
    x, y = draw(setup, 40, seed=0)
    assert _error(setup, x, y, lambda _: y) == 0.5 / 40  # a logarithm is taken of it
    other = torch.cat([1 - y[:10], y[10:]])
    assert _error(setup, x, y, lambda _: other) == 0.25


def test_unknown_names_are_refused():
    with pytest.raises(ArgumentError, match="Setup: optimizer: expected one of sgd"):
        Setup(optimizer="Adam")
    with pytest.raises(ArgumentError, match="Setup: task"):
        Setup(task="clustering")


def test_all_rules_are_swept_and_judged():
    assert [rule.number for rule in RULES] == [1, 2, 3, 4, 5, 6, 7]
    cells = sweep_cells(RULES, range(2))
    labels = [tuple(cell.labels.items()) for cell in cells]
    assert len(set(labels)) == len(cells)
    assert [cell.labels["seed"] for cell in cells] == sorted(cell.labels["seed"] for cell in cells)


def made_up(rule, held_out, reached=lambda setting, seed: None):
    """Results of the cells of a rule, as a training would give them."""
    results = []
    for cell in sweep_cells([rule], range(5)):
        setting, seed = cell.labels["setting"], cell.labels["seed"]
        error = held_out(setting) * (1 + 0.01 * ((seed + len(setting)) % 3))
        epochs = reached(setting, seed)
        curve = [1.0] * 599 + [error]
        results.append(
            {**cell.labels, "training": 0.1, "held_out": error, "training_curve": [0.1] * 600,
             "held_out_curve": curve, "epoch_seconds": 0.5, "target_epochs": epochs,
             "target_seconds": None if epochs is None else 0.5 * epochs, "seconds": 1.0}
        )  # fmt: skip
    return results


def test_judgement_follows_from_the_table():
    pytest.importorskip("scipy")
    (rule,) = [rule for rule in RULES if rule.subject == "architecture"]
    worse = rows_of([rule], made_up(rule, lambda setting: 2.0 if setting == "256" else 1.0))
    better = rows_of([rule], made_up(rule, lambda setting: 0.5 if setting == "256" else 1.0))
    for rows, conclusion, ratio in ((worse, "holds", 2), (better, "does not hold", 0.5)):
        of_width = [one.ratio for one in judge([rule], rows) if one.sweep == "width"]
        assert {one.conclusion for one in of_width} == {conclusion}
        assert of_width[0].mean == pytest.approx(ratio, rel=0.02)
    assert worse[0]["gap"] == pytest.approx(10, rel=0.02)
    assert not worse[0]["reached"]
    assert (worse[0]["target_epochs"], worse[0]["target_seconds"]) == (600, 300.0)  # at least


@pytest.mark.parametrize(
    ("never", "epochs", "conclusion", "text"),
    [
        ("100", (20, 400), "holds", "at least "),
        ("100", (400, 20), "can't tell: within the spread", "at least "),
        ("4", (20, 400), "can't tell: within the spread", "at most "),
        ("4", (400, 20), "does not hold", "at most "),
        ("none", (20, 400), "holds", "18."),
    ],
)
def test_a_target_that_was_never_reached_is_a_lower_bound(never, epochs, conclusion, text):
    pytest.importorskip("scipy")
    (rule,) = [rule for rule in RULES if rule.number == 7]
    of = {"4": epochs[0], "100": epochs[1]}

    def reached(setting, seed):  # seed 3 of one setting never; made up curves have 600 epochs
        return None if (setting, seed) == (never, 3) else of.get(setting, 50) + seed

    judged = judge([rule], rows_of([rule], made_up(rule, lambda _: 1.0, reached)))
    found = {one.contrast.quantity: one for one in judged}
    assert found["target_epochs"].ratio.conclusion == conclusion
    assert str(found["target_epochs"].ratio).startswith(text)
    assert found["target_epochs"].bounded == found["target_seconds"].bounded == (never != "none")
    assert not found["epoch_seconds"].bounded


def test_statements_are_corrected_for_their_number():
    pytest.importorskip("scipy")
    (rule,) = [rule for rule in RULES if rule.subject == "architecture"]
    rows = rows_of([rule], made_up(rule, lambda setting: 1.02 if setting == "256" else 1.0))
    three = {one.contrast.statement: one.ratio.p for one in judge([rule], rows)}
    statement = rule.contrasts["width"][0]
    alone = replace(rule, contrasts={"width": [statement]})
    ((*_, ratio, _),) = judge([alone], rows)
    assert len(three) == 3
    assert three[statement.statement] > 1.9 * ratio.p


def test_epochs_are_read_from_one_training():
    (rule,) = [rule for rule in RULES if rule.number == 2]
    rows = rows_of([rule], made_up(rule, lambda _: 3.0))
    assert [row["setting"] for row in rows[:5]] == ["6", "20", "60", "200", "600"]
    assert [row["held_out"] for row in rows[:5]] == [1.0, 1.0, 1.0, 1.0, 3.0]


def test_error_of_a_diverging_training_is_finite():
    x, y = draw(SHORT, 40, seed=0)
    assert math.isfinite(_error(SHORT, x, y, lambda _: torch.full_like(y, 1e30)))
