"""Experiments: several seeds, shown progress, resumed after an interruption, written as tables.

``run_cells`` is the machinery: it runs what is not done yet and gives the table of everything.
"""

from pyneural.experiments.cells import Cell, run_cells
from pyneural.experiments.contrasts import (
    Contrast,
    RankCorrelation,
    Ratio,
    as_good_as_the_best,
    corrected,
    rank_correlation,
    ratio,
    verdict,
)
from pyneural.experiments.tables import Difference, difference, summary, write_csv, write_json

__all__ = [
    "Cell",
    "Contrast",
    "Difference",
    "RankCorrelation",
    "Ratio",
    "as_good_as_the_best",
    "corrected",
    "difference",
    "rank_correlation",
    "ratio",
    "run_cells",
    "summary",
    "verdict",
    "write_csv",
    "write_json",
]
