"""Experiments: several seeds, shown progress, resumed after an interruption, written as tables.

``run_cells`` is the machinery: it runs what is not done yet and gives the table of everything.
"""

from pyneural.experiments.cells import Cell, run_cells
from pyneural.experiments.tables import Difference, difference, summary, write_csv, write_json

__all__ = ["Cell", "Difference", "difference", "run_cells", "summary", "write_csv", "write_json"]
