"""What ``fit`` prints: a tqdm bar an epoch, or a line an epoch, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from tqdm import tqdm

SILENT, BAR, LINE = 0, 1, 2  # Keras's numbers for verbose
_ON_TERMINAL, _IN_FILE = 0.1, 30.0  # seconds between two displays


class EpochBar:
    """Shows epoch, loss, metrics and time left; the device is read only when a display is due.

    Args:
        epochs: number of all.
        steps: updates of an epoch.
        verbose: SILENT, BAR or LINE.
    """

    def __init__(self, epochs: int, steps: int, verbose: int) -> None:
        self.epochs, self.steps, self.verbose = epochs, steps, verbose
        self._interval = _ON_TERMINAL if sys.stderr.isatty() else _IN_FILE
        self._bar: tqdm | None = None
        self._epoch = 0
        self.due = float("inf")  # when to show next, on the clock of time.perf_counter

    def begin(self, epoch: int, step: int) -> None:
        """Starts an epoch at a step."""
        self._epoch = epoch
        self._began = time.perf_counter()
        if self.verbose == BAR:
            self._bar = tqdm(
                total=self.steps,
                initial=step,
                desc=self._name(),
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
        """Ends an epoch with its final values."""
        if self._bar is not None:
            self.show(step, lambda: logs)
            self.close()
        elif self.verbose == LINE:
            seconds = time.perf_counter() - self._began
            text = f"{self._name()}  {_values(logs)}  {seconds:.1f} s"
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self.due = float("inf")

    def _name(self) -> str:
        return f"Epoch {self._epoch + 1}/{self.epochs}"


def _values(logs: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in logs.items())
