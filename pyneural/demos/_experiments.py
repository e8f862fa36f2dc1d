"""Experiments as demos: cells that go on after an interruption, and tables beside the picture."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pyneural.demos._options import counted, print_row
from pyneural.experiments import Cell, run_cells, write_csv, write_json


def is_first() -> bool:
    """Whether this process writes and prints: under ``torchrun``, the one of rank 0 alone."""
    return os.environ.get("RANK", "0") == "0"


def measure(
    args: argparse.Namespace, name: str, cells: Sequence[Cell], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Runs the cells that an earlier, interrupted call with the same settings did not finish.

    They are kept in NAME-cells.json in the output folder until ``write_tables``.
    """
    return run_cells(cells, args.out / f"{name}-cells.json", settings=settings)


def write_tables(
    args: argparse.Namespace, name: str, rows: Sequence[Mapping[str, Any]], **others: Any
) -> None:
    """Writes rows to NAME.csv, and with the other tables to NAME.json; prints their names."""
    table, everything = args.out / f"{name}.csv", args.out / f"{name}.json"
    write_csv(table, rows)
    write_json(everything, {"rows": rows, **others})
    (args.out / f"{name}-cells.json").unlink(missing_ok=True)
    print_row("table", f"{table}, {counted(len(rows), 'row')}")
    print_row("and all", everything)
