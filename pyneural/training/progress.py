"""Progress bar with the loss terms, which moves at every evaluation of the loss."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

_FORMAT = "{desc}{percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}"
_ON_TERMINAL, _IN_FILE = 0.1, 30.0  # seconds between two displays


class Progress:
    """Shows phase, steps, time and loss terms on stderr; costs a clock reading where it is not due.

    Args:
        total: number of steps of all phases together.
        start: steps done before.
        shown: False for no bar.
    """

    def __init__(self, total: int, start: int, shown: bool) -> None:
        self._interval = _ON_TERMINAL if sys.stderr.isatty() else _IN_FILE
        self._next = time.perf_counter() + self._interval
        self._bar = tqdm(
            total=total,
            initial=start,
            bar_format=_FORMAT,
            leave=False,
            delay=self._interval,
            disable=not shown,
            file=sys.stderr,
        )

    @property
    def due(self) -> bool:
        """Whether it is time to show something new."""
        return time.perf_counter() >= self._next

    def show(self, phase: str, step: int, terms: Mapping[str, float], evaluations: int) -> None:
        """Shows the state of the training."""
        self._next = time.perf_counter() + self._interval
        bar = self._bar
        bar.set_description_str(f"{phase:8}", refresh=False)
        losses = "  ".join(f"{name} {value:.1e}" for name, value in terms.items())
        bar.set_postfix_str(f"{losses}  evaluations {evaluations:,}", refresh=False)
        bar.update(step - bar.n)
        bar.refresh()

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()
