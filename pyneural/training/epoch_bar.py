"""What ``fit``, ``evaluate`` and ``predict`` print: a bar or a line a pass, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

SILENT, BAR, LINE = 0, 1, 2  # Keras's numbers for verbose
_ON_TERMINAL, _IN_FILE = 0.1, 30.0  # seconds between two displays


class EpochBar:
    """Shows epoch, loss, metrics and time left; the device is read only when a display is due.

    Args:
        steps: batches of a pass through the data; None if unknown.
        verbose: SILENT, BAR or LINE.
    """

    def __init__(self, steps: int | None, verbose: int) -> None:
        self.steps, self.verbose = steps, verbose
        self._interval = _ON_TERMINAL if sys.stderr.isatty() else _IN_FILE
        self._bar: tqdm | None = None
        self._name = ""
        self.due = float("inf")  # when to show next, on the clock of time.perf_counter

    def begin(self, name: str, step: int = 0) -> None:
        """Starts a pass of that name at a step."""
        self._name = name
        self._began = time.perf_counter()
        if self.verbose == BAR:
            self._bar = tqdm(
                total=self.steps,
                initial=step,
                desc=name,
                mininterval=0.0,
                miniters=sys.maxsize,  # it is drawn when this class says so
                dynamic_ncols=True,
                unit="step",
                file=sys.stderr,
            )
            self.due = self._began + self._interval

    def show(self, step: int, means: Callable[[], Mapping[str, float]]) -> None:
        """Draws the bar at a step, with values that are read now."""
        if self._bar is not None:
            self._bar.n = step
            self._bar.set_postfix_str(_values(means()), refresh=False)
            self._bar.refresh()
            self.due = time.perf_counter() + self._interval

    def end(self, step: int, logs: Mapping[str, float]) -> None:
        """Ends a pass with its final values."""
        if self._bar is not None:
            self.show(step, lambda: logs)
            self.close()
        elif self.verbose == LINE:
            seconds = time.perf_counter() - self._began
            parts = (self._name, _values(logs), f"{seconds:.1f} s")
            print("  ".join(filter(None, parts)), file=sys.stderr, flush=True)

    def over(
        self, name: str, items: Iterable[Item], means: Callable[[], Mapping[str, float]] = dict
    ) -> Iterator[Item]:
        """The items, while a pass of that name over them is shown."""
        self.begin(name)
        step = 0
        try:
            for step, item in enumerate(items, 1):
                yield item
                if time.perf_counter() >= self.due:
                    self.show(step, means)
            self.end(step, means() if self.verbose else {})
        finally:
            self.close()

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self.due = float("inf")


def _values(logs: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in logs.items())
