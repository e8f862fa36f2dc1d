"""The seven rules of the slides' cheatsheet of hyperparameters, each measured by a sweep."""

from pyneural.experiments.cheatsheet.rules import (
    RULES,
    Rule,
    Sweep,
    judge,
    rows_of,
    sweep_cells,
)
from pyneural.experiments.cheatsheet.training import Setup, train

__all__ = ["RULES", "Rule", "Setup", "Sweep", "judge", "rows_of", "sweep_cells", "train"]
