"""The bar over the cells of an experiment, with the time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pyneural.progress import Display

_TICK = 1.0  # seconds between two displays inside of a cell
_LAYOUTS = (
    "{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} {elapsed}<{left}  {cell}",
    "{percentage:3.0f}%|{bar:4}| {n_fmt}/{total_fmt} {left} left  {cell}",
)


class Timed(Protocol):
    """A cell, as far as its time goes."""

    @property
    def labels(self) -> Mapping[str, Any]:
        """What tells it from the others."""

    @property
    def expected(self) -> float | None:
        """Its time in s, if it is known."""

    @property
    def name(self) -> str:
        """For the bar."""


class CellBar:
    """Shows cells done and the time left, each second, in a file each half minute.

    Args:
        finished: those of earlier runs, with their times in s.
        waiting: those to run, of this process.
        shown: whether anything is shown.
    """

    def __init__(
        self,
        finished: Sequence[tuple[Timed, float]],
        waiting: Sequence[Timed],
        shown: bool,
    ) -> None:
        self.finished, self.waiting = list(finished), list(waiting)
        self.shown, self._running = shown, ""
        self._began, self._ended = time.perf_counter(), threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> CellBar:
        if self.shown:
            self._display = Display()
            self._entered = time.perf_counter()
            self._thread = threading.Thread(target=self._tick, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.shown:
            self._ended.set()
            self._thread.join()
            self._display.close()

    def begin(self, cell: Timed) -> None:
        """A cell begins."""
        self._running, self._began = cell.name, time.perf_counter()

    def end(self, cell: Timed, seconds: float) -> None:
        """The cell has ended."""
        with self._lock:
            self.finished.append((cell, seconds))
            self.waiting.remove(cell)

    def left(self) -> float | None:
        """Seconds until all cells of this process are done; None if nothing is known yet."""
        running = time.perf_counter() - self._began if self._running else 0.0
        return time_left(self.finished, self.waiting, running)

    def _tick(self) -> None:
        while not self._ended.wait(_TICK):
            if time.perf_counter() >= self._display.due:
                with self._lock:
                    done, all_of_them = len(self.finished), len(self.finished) + len(self.waiting)
                    left = self.left()
                seconds = time.perf_counter() - self._entered
                self._display.show(_LAYOUTS, done, all_of_them, seconds, left, cell=self._running)


def time_left(
    finished: Sequence[tuple[Timed, float]], waiting: Sequence[Timed], running: float = 0.0
) -> float | None:
    """Seconds that cells will take, the first of which has run for some; None if none is known.

    A cell takes as long as those of its kind did, which differ from it in ``seed`` alone; else what
    is expected of it, times the mean ratio of the others' times to what was expected of them; else
    the mean of all.
    """
    kinds: dict[str, list[float]] = {}
    for cell, seconds in finished:
        kinds.setdefault(_kind(cell), []).append(seconds)
    hinted = [(seconds, cell.expected) for cell, seconds in finished if cell.expected]
    ratio = sum(s for s, _ in hinted) / sum(e for _, e in hinted) if hinted else 1.0
    total = 0.0
    for place, cell in enumerate(waiting):
        known = kinds.get(_kind(cell))
        if known:
            seconds = sum(known) / len(known)
        elif cell.expected is not None:
            seconds = ratio * cell.expected
        elif finished:
            seconds = sum(seconds for _, seconds in finished) / len(finished)
        else:
            return None
        total += seconds if place else max(0.0, seconds - running)
    return total


def _kind(cell: Timed) -> str:
    return str(sorted((name, value) for name, value in cell.labels.items() if name != "seed"))
