"""An experiment as independent cells, each of which is run once, whatever interrupts it."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pyneural.errors import check_argument
from pyneural.experiments.progress import CellBar
from pyneural.experiments.sharing import Processes
from pyneural.experiments.store import CellStore, as_stored, key
from pyneural.training.isolation import isolated

Row = dict[str, Any]
SECONDS = "seconds"  # column of the time of a cell


@dataclass(frozen=True)
class Cell:
    """One part of an experiment, as a model trained from one seed.

    Args:
        labels: what tells it from the others, by column: ``{"model": "nsf", "seed": 3}``. Cells
            that differ in ``seed`` alone are expected to take the same time.
        run: does it; the values that it measured, by column: numbers, texts, or lists of them.
            What is not finite becomes None.
        expected: its time in s, roughly; None if nothing is known. Only the time left that is shown
            depends on it, before a cell of its kind has ended.
    """

    labels: Mapping[str, str | int | float | bool]
    run: Callable[[], Mapping[str, Any]]
    expected: float | None = None

    @property
    def name(self) -> str:
        """The labels as one text.

        >>> Cell({"model": "nsf", "seed": 3}, dict).name
        'model nsf, seed 3'
        """
        return ", ".join(f"{name} {value}" for name, value in self.labels.items())


def run_cells(
    cells: Sequence[Cell],
    file: str | os.PathLike[str] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> list[Row]:
    """Runs the cells of an experiment that are not done yet; the table of all of them.

    Each cell that ends is written to the file at once, so that nothing finished is lost by Ctrl-C
    or worse; call it again to go on. torch's random numbers of a cell depend on its labels alone,
    whatever ran before. Under ``torchrun`` the cells are shared over the processes, each of which
    gets the whole table; trainings inside a cell belong to one process (see ``isolated``), and
    should be silent, since a bar over all cells is shown.

    Args:
        cells: in the order in which they are run. With the seeds outermost, the time left is right
            after the first of them.
        file: JSON, of finished cells; None to keep none. It may hold cells that are not asked for.
        settings: what the values of all cells depend on, as sizes and budgets, for the file.
        verbose: whether to show cells done and the time left, on stderr.

    Returns:
        a row for each cell, in the order of ``cells``: labels, values, and ``seconds``.

    Raises:
        ArgumentError: labels twice; a cell that gives no values by column, or such with the names
            of labels; a file that is damaged or of other settings.
        OSError: a file that cannot be written.

    >>> cells = [Cell({"n": n}, lambda n=n: {"square": n**2}) for n in (1, 2)]
    >>> [row["square"] for row in run_cells(cells, verbose=False)]
    [1, 4]
    """
    names = [key(cell.labels) for cell in cells]
    twice = sorted({cell.name for cell in cells if names.count(key(cell.labels)) > 1})
    remedy = "add a label that tells them apart, as seed"
    check_argument(not twice, "run_cells: cells", "different labels", twice, remedy)
    processes = Processes.join()
    store = CellStore(None if file is None else Path(file), settings or {}, processes.rank)
    store.cells = _of_all(processes, store.read())
    store.write()
    done = [cell for cell in cells if key(cell.labels) in store.cells]
    left = [cell for cell in cells if key(cell.labels) not in store.cells]
    before = [(cell, store.cells[key(cell.labels)][SECONDS]) for cell in done]
    mine = left[processes.rank :: processes.size]
    with CellBar(before, mine, verbose and processes.rank == 0) as bar:
        for cell in mine:
            bar.begin(cell)
            start = time.perf_counter()
            values = _measured(cell)
            seconds = time.perf_counter() - start
            store.add({"labels": dict(cell.labels), "values": values, SECONDS: seconds})
            bar.end(cell, seconds)
    store.cells = _of_all(processes, store.cells)
    if processes.rank == 0:
        store.write()
    processes.wait()
    store.remove_parts()
    found = [(cell, store.cells[name]) for cell, name in zip(cells, names, strict=True)]
    return [{**cell.labels, **one["values"], SECONDS: one[SECONDS]} for cell, one in found]


def _of_all(processes: Processes, cells: dict[str, Any]) -> dict[str, Any]:
    """The cells that any process knows."""
    together: dict[str, Any] = {}
    for content in processes.gather(json.dumps(cells)):
        together.update(json.loads(content))
    return together


def _measured(cell: Cell) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]), isolated():
        torch.manual_seed(zlib.crc32(key(cell.labels).encode()))
        found = cell.run()
    where, got = f"run_cells: {cell.name}", type(found).__name__
    good, remedy = isinstance(found, Mapping), "return a dict from Cell.run"
    check_argument(good, where, "measured values by their columns", got, remedy)
    values = as_stored(where, found)
    both = sorted({SECONDS, *cell.labels} & set(values))
    remedy = "give the values other names"
    check_argument(not both, where, "values beside the labels", both, remedy)
    return values
