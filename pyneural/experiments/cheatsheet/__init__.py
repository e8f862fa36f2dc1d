"""The seven rules of the slides' cheatsheet of hyperparameters, each measured by a sweep."""

from pyneural.experiments.cheatsheet.rules import (
    OPTIMIZER_RATES,
    RULES,
    TO_TARGET,
    Judged,
    Rule,
    Sweep,
    judge,
    rows_of,
    sweep_cells,
    tuned,
)
from pyneural.experiments.cheatsheet.training import Setup, train

__all__ = [
    "OPTIMIZER_RATES",
    "RULES",
    "TO_TARGET",
    "Judged",
    "Rule",
    "Setup",
    "Sweep",
    "judge",
    "rows_of",
    "sweep_cells",
    "train",
    "tuned",
]
