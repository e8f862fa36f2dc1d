"""Progress bar with the loss terms, which moves at every evaluation of the loss."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

_ON_TERMINAL, _IN_FILE = 0.1, 30.0  # seconds between two displays
_USUAL_WIDTH = 80
# The first that fits the terminal is shown; three loss terms fit 80 columns by the third.
_LAYOUTS = (
    "{phase:6} {percentage:3.0f}%|{bar:20}| {steps} {elapsed}<{remaining}  {losses}  {evaluations}",
    "{phase:6} {percentage:3.0f}%|{bar:20}| {steps} {elapsed}<{remaining}  {losses}",
    "{phase:6} {percentage:3.0f}%|{bar:4}| {remaining} left  {losses}",
    "{phase:6} {percentage:3.0f}%  {losses}",
)


class Progress:
    """Shows phase, steps, time and loss terms on stderr; costs a clock reading where it is not due.

    On a terminal it is one line that is drawn over and removed in the end, elsewhere a line each
    time. What the terminal has no room for is left out, the loss terms last.

    Args:
        total: number of steps of all phases together.
        start: steps done before.
        shown: False for no bar.
    """

    def __init__(self, total: int, start: int, shown: bool) -> None:
        self._total, self._start, self._shown = total, start, shown
        self._on_terminal = sys.stderr.isatty()
        self._interval = _ON_TERMINAL if self._on_terminal else _IN_FILE
        self._began = time.perf_counter()
        self._next = self._began + self._interval

    @property
    def due(self) -> bool:
        """Whether it is time to show something new."""
        return self._shown and time.perf_counter() >= self._next

    def show(self, phase: str, step: int, terms: Mapping[str, float], evaluations: int) -> None:
        """Shows the state of the training."""
        now = time.perf_counter()
        self._next = now + self._interval

        def line(layout: str) -> str:
            return tqdm.format_meter(
                step,
                self._total,
                now - self._began,
                initial=self._start,
                ascii=not (sys.stderr.encoding or "").lower().startswith("utf"),
                bar_format=layout,
                phase=phase,
                steps=f"{step:,}/{self._total:,}",
                losses=" ".join(f"{name}={value:.1e}" for name, value in terms.items()),
                evaluations=f"evaluations={evaluations:,}",
            )

        if self._on_terminal:
            room = _room()
            fitting = (text for text in map(line, _LAYOUTS) if len(text) <= room)
            _draw(next(fitting, line(_LAYOUTS[-1])[:room]), room)
        else:
            print(line(_LAYOUTS[0]), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Removes the bar."""
        if self._shown and self._on_terminal:
            _draw("", _room())


def _room() -> int:
    """Columns of the terminal but the last, at which some go on to the next line."""
    try:
        width = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        width = 0
    return (width or _USUAL_WIDTH) - 1


def _draw(text: str, room: int) -> None:
    # The cursor goes back, so that whatever else is printed starts a line of its own.
    sys.stderr.write(text.ljust(room) + "\r")
    sys.stderr.flush()
