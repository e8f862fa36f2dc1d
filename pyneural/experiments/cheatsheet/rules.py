"""The seven rules: what the slide claims, the sweep, and the statements that are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from pyneural.experiments.cells import Cell
from pyneural.experiments.cheatsheet.training import CLASSIFICATION, REGRESSION, Setup, train
from pyneural.experiments.contrasts import Contrast, Ratio, corrected, verdict

EPOCHS = (6, 20, 60, 200, 600)
WIDTHS, DEPTHS = (2, 8, 32, 128, 256), (1, 2, 4, 8, 16)
LOSSES = ("mean_squared_error", "mean_absolute_error", "mean_squared_logarithmic_error",
          "binary_crossentropy")  # fmt: skip
SHORT = dict(zip(LOSSES, ("mse", "mae", "msle", "bce"), strict=True))
LAST = ("linear", "sigmoid", "tanh", "relu")
PLAIN, ADAPTIVE = (0.01, 0.1, 1.0), (1e-3, 1e-2, 1e-1)
OPTIMIZER_RATES = {"sgd": PLAIN, "momentum": (1e-3, 1e-2, 1e-1), "rmsprop": ADAPTIVE,
                   "adam": ADAPTIVE}  # fmt: skip
ADAM_RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
BATCHES = (4, 10, 25, 50, 100)
TO_TARGET = ("target_epochs", "target_seconds")  # lower bounds where it was never reached


@dataclass(frozen=True)
class Sweep:
    """Trainings that differ in one hyperparameter.

    Attributes:
        name: of what is changed.
        setups: by the name of the setting.
        epochs: where it is the number of epochs: one training, read after each of these.
    """

    name: str
    setups: Mapping[str, Setup]
    epochs: Sequence[int] = ()


@dataclass(frozen=True)
class Rule:
    """A rule of the cheatsheet.

    Attributes:
        number, subject, claim: as on the slide.
        sweeps: that measure it.
        contrasts: statements that follow from the claim, by the name of the sweep.
    """

    number: int
    subject: str
    claim: str
    sweeps: Sequence[Sweep]
    contrasts: Mapping[str, Sequence[Contrast]]


class Judged(NamedTuple):
    """A statement of a rule, and the ratio of its two sides."""

    rule: Rule
    sweep: str
    contrast: Contrast
    ratio: Ratio
    bounded: bool  # whether the ratio is a bound, as a training never reached its target


def _names(values: Sequence[Any], *without: Any) -> tuple[str, ...]:
    return tuple(f"{value:g}" for value in values if value not in without)


def _sweep(name: str, field: str, values: Sequence[Any], base: Setup) -> Sweep:
    return Sweep(name, {f"{value:g}": replace(base, **{field: value}) for value in values})


def _loss_setup(task: str, loss: str) -> Setup:
    between = task == CLASSIFICATION or loss == "binary_crossentropy"
    return Setup(task=task, loss=loss, last="sigmoid" if between else "linear")


def _of_task(task: str, loss: str) -> Sweep:
    setups = {last: Setup(task=task, loss=loss, last=last) for last in LAST}
    return Sweep(f"last activation, {SHORT[loss]}", setups)


def _optimizer_sweep(name: str, *, scaled: bool) -> Sweep:
    setups = {
        f"{optimizer} {rate:g}": Setup(optimizer=optimizer, rate=rate, scaled=scaled, epochs=40)
        for optimizer, rates in OPTIMIZER_RATES.items()
        for rate in rates
    }
    return Sweep(name, setups)


def tuned(optimizer: str) -> tuple[str, ...]:
    """The settings of an optimiser, a learning rate each, of which the best counts.

    >>> tuned("adam")
    ('adam 0.001', 'adam 0.01', 'adam 0.1')
    """
    return tuple(f"{optimizer} {rate:g}" for rate in OPTIMIZER_RATES[optimizer])


RULES = (
    Rule(
        1,
        "architecture",
        "wide networks tend to overfit, deep networks are hard to train",
        [
            _sweep("width", "width", WIDTHS, Setup(epochs=150)),
            _sweep("depth", "depth", DEPTHS, Setup()),
        ],
        {
            "width": [
                Contrast("width 256 over 8: held-out / training error", "gap", "256", "8"),
                Contrast("width 256 over the best other: held-out error", "held_out",
                         "256", _names(WIDTHS, 256)),
            ],
            "depth": [
                Contrast("depth 16 over the best other: training error", "training",
                         "16", _names(DEPTHS, 16)),
            ],
        },
    ),
    Rule(
        2,
        "number of epochs",
        "the sweet spot is when learning slows down, before overfitting",
        [Sweep("epochs", {"600": Setup(epochs=EPOCHS[-1])}, EPOCHS)],
        {
            "epochs": [
                Contrast("6 epochs over the best other: held-out error", "held_out",
                         "6", _names(EPOCHS, 6)),
                Contrast("600 epochs over the best other: held-out error", "held_out",
                         "600", _names(EPOCHS, 600)),
            ],
        },
    ),
    Rule(
        3,
        "loss function",
        "appropriate to the task, e.g. classification vs regression",
        [
            Sweep(f"loss, {task}", {SHORT[loss]: _loss_setup(task, loss) for loss in LOSSES})
            for task in (REGRESSION, CLASSIFICATION)
        ],
        {
            "loss, regression": [
                Contrast("regression, msle over mse: error", "held_out", "msle", "mse"),
                Contrast("regression, crossentropy over mse: error", "held_out", "bce", "mse"),
            ],
            "loss, classification": [
                Contrast("classes, mse over crossentropy: wrong", "held_out", "mse", "bce"),
            ],
        },
    ),
    Rule(
        4,
        "activation functions",
        "consistent with the loss function",
        [
            _of_task(REGRESSION, "mean_squared_error"),
            _of_task(CLASSIFICATION, "binary_crossentropy"),
        ],
        {
            "last activation, mse": [
                Contrast("mse, relu over linear: error", "held_out", "relu", "linear"),
                Contrast("mse, sigmoid over linear: error", "held_out", "sigmoid", "linear"),
            ],
            "last activation, bce": [
                Contrast("crossentropy, linear over sigmoid: wrong", "held_out",
                         "linear", "sigmoid"),
                Contrast("crossentropy, relu over sigmoid: wrong", "held_out",
                         "relu", "sigmoid"),
            ],
        },
    ),
    Rule(
        5,
        "optimization scheme",
        "appropriate to the task and data",
        [
            _optimizer_sweep("optimizer, one unit", scaled=True),
            _optimizer_sweep("optimizer, mixed units", scaled=False),
        ],
        {
            "optimizer, one unit": [
                Contrast("in one unit, SGD over Adam: training error", "training",
                         tuned("sgd"), tuned("adam")),
            ],
            "optimizer, mixed units": [
                Contrast("in mixed units, SGD over Adam: training error", "training",
                         tuned("sgd"), tuned("adam")),
            ],
        },
    ),
    Rule(
        6,
        "learning rate",
        "balance speed and accuracy",
        [_sweep("learning rate", "rate", ADAM_RATES, Setup(epochs=100))],
        {
            "learning rate": [
                Contrast("rate 0.001 over 0.01: epochs to the same error", "target_epochs",
                         "0.001", "0.01"),
                Contrast("rate 0.0001 over the best other: held-out error", "held_out",
                         "0.0001", _names(ADAM_RATES, 1e-4)),
                Contrast("rate 0.1 over the best other: held-out error", "held_out",
                         "0.1", _names(ADAM_RATES, 0.1)),
            ],
        },
    ),
    Rule(
        7,
        "batch size",
        "smaller batch size is faster but leads to overtraining",
        [_sweep("batch size", "batch", BATCHES, Setup(epochs=100))],
        {
            "batch size": [
                Contrast("batch 100 over 4: time of an epoch", "epoch_seconds", "100", "4"),
                Contrast("batch 100 over 4: epochs to the same error", "target_epochs",
                         "100", "4"),
                Contrast("batch 100 over 4: time to the same error", "target_seconds",
                         "100", "4"),
                Contrast("batch 4 over 100: held-out / training error", "gap", "4", "100"),
                Contrast("batch 4 over the best other: held-out error", "held_out",
                         "4", _names(BATCHES, 4)),
            ],
        },
    ),
)  # fmt: skip


def sweep_cells(rules: Sequence[Rule], seeds: Sequence[int]) -> list[Cell]:
    """A cell for each setting and seed, the seeds outermost.

    >>> len(sweep_cells(RULES[1:2], range(5)))
    5
    """
    return [
        Cell({"rule": rule.number, "sweep": sweep.name, "setting": name, "seed": seed},
             partial(train, setup, seed))
        for seed in seeds
        for rule in rules
        for sweep in rule.sweeps
        for name, setup in sweep.setups.items()
    ]  # fmt: skip


def rows_of(rules: Sequence[Rule], results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The table: a row for each setting and seed, and for each number of epochs that is read.

    ``gap`` is the ratio of held-out to training error. Without a time to the target, as it was
    never reached, there is "at least" that of the whole training.
    """
    epochs = {sweep.name: sweep.epochs for rule in rules for sweep in rule.sweeps}
    rows = []
    for result in results:
        read = epochs[result["sweep"]]
        row = {name: value for name, value in result.items() if not isinstance(value, list)}
        curves = result["training_curve"], result["held_out_curve"]
        row["reached"] = result["target_epochs"] is not None
        if not row["reached"]:
            row["target_epochs"] = len(curves[0])
            row["target_seconds"] = len(curves[0]) * result["epoch_seconds"]
        for number in read or [len(curves[0])]:
            training, held_out = (curve[number - 1] for curve in curves)
            setting = f"{number:g}" if read else result["setting"]
            errors = {"training": training, "held_out": held_out, "gap": held_out / training}
            rows.append(row | {"setting": setting} | errors)
    return rows


def judge(rules: Sequence[Rule], rows: Sequence[Mapping[str, Any]]) -> list[Judged]:
    """The ratio of each statement, from the rows of all seeds, corrected for their number.

    Where a training never reached its target, the time of all of it is a lower bound, see
    ``experiments.ratio``.
    """
    told, ratios = [], []
    for rule in rules:
        for sweep, contrasts in rule.contrasts.items():
            for contrast in contrasts:
                measured, at_least = dict[str, list[float]](), set()
                for row in rows:
                    if row["sweep"] == sweep:
                        measured.setdefault(row["setting"], []).append(row[contrast.quantity])
                        if contrast.quantity in TO_TARGET and not row["reached"]:
                            at_least.add(row["setting"])
                bounded = not at_least.isdisjoint((contrast.larger, contrast.smaller))
                told.append((rule, sweep, contrast, bounded))
                ratios.append(verdict(contrast, measured, at_least))
    return [
        Judged(rule, sweep, contrast, ratio, bounded)
        for (rule, sweep, contrast, bounded), ratio in zip(told, corrected(ratios), strict=True)
    ]
