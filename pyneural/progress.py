"""How far long work is: one line on a terminal, a bar in a notebook, lines in a file.

``progress(name, items)`` shows a loop; the trainings' own displays are made of the same two parts,
`Display`, which knows where it writes, and `Pace`, which knows how much time is left.
"""

from __future__ import annotations

import os
import re
import sys
import time
from bisect import bisect_right
from collections.abc import Generator, Iterable, Sequence, Sized
from importlib.util import find_spec
from typing import Any, TypeVar
from weakref import WeakSet

from tqdm import tqdm

Item = TypeVar("Item")

ON_TERMINAL, IN_FILE = 0.1, 30.0  # seconds between two displays
_QUIET = 2.0  # seconds before a loop is shown at all
_USUAL_WIDTH = 80
_NOTED = 0.05  # seconds between two looks at the pace, at first
_APART = 1.05  # ratio of the steps of two notes of the pace
_BAR = re.compile(r"\|?\{bar(?::\d+)?\}\|?")
_LOOP = "{name} {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} {elapsed}<{left}"
_ENDLESS = "{name} {n_fmt} {elapsed}"

# Loops and displays, of which only the outermost is shown; what was forgotten is not among them.
_running: WeakSet[Any] = WeakSet()


class Pace:
    """How long the rest of some steps takes, by the pace of the latter half of those done.

    The first steps, which may compile, allocate and fill caches, are thus left out as soon as twice
    as many are done, and a change of pace is followed.

    Args:
        first: steps that were done before.

    >>> pace = Pace()
    >>> print(pace.left(0, 10))
    None
    """

    def __init__(self, first: float = 0) -> None:
        self.began = time.perf_counter()
        self._steps, self._times = [first], [0.0]

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self.began

    def note(self, step: float) -> None:
        """Keeps the time of a step that has just ended."""
        first, last = self._steps[0], self._steps[-1]
        if step > last and step - first >= _APART * (last - first):
            self._steps.append(step)
            self._times.append(self.seconds)

    def next_look(self) -> float:
        """When to note the next step, on the clock of ``time.perf_counter``."""
        return time.perf_counter() + max(_NOTED, self.seconds / 64)

    def left(self, step: float, total: float) -> float | None:
        """Seconds from now until all steps are done; None before a second step has ended."""
        first = self._steps[0]
        if step - first < 2:
            return None if step < total else 0.0
        place = max(0, bisect_right(self._steps, first + (step - first) / 2) - 1)
        if place == 0 and step > self._steps[min(1, len(self._steps) - 1)] > first:
            place = 1  # so that the first step does not count
        each = (self.seconds - self._times[place]) / (step - self._steps[place])
        return each * (total - step)


class Display:
    """A line on stderr that is shown anew: over the one before, or in a file below it.

    ``due`` is when to draw next, on the clock of ``time.perf_counter``. In a notebook with
    ipywidgets it is a bar of tqdm's.
    """

    def __init__(self) -> None:
        self._widget = _notebook_bar()
        stream = sys.stderr  # None in a program without a console; a user's may have write alone
        is_terminal = getattr(stream, "isatty", None)
        self.on_terminal = self._widget is None and is_terminal is not None and is_terminal()
        self.in_file = self._widget is None and not self.on_terminal
        self.period = IN_FILE if self.in_file else ON_TERMINAL
        encoding = getattr(stream, "encoding", None) or ""
        self.ascii = not encoding.lower().startswith("utf")
        self.due = time.perf_counter() + self.period
        _running.add(self)

    @property
    def room(self) -> int:
        """Columns of the terminal but the last, at which some go on to the next line."""
        try:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
        except (OSError, ValueError, AttributeError):  # of a stream that is no file
            width = 0
        return (width or _USUAL_WIDTH) - 1

    def show(
        self,
        layouts: Sequence[str],
        step: float,
        total: float | None,
        seconds: float,
        left: float | None,
        **parts: Any,
    ) -> None:
        """Draws the first layout that fits, else what fits of the last.

        Args:
            layouts: formats of tqdm's ``bar_format``, with ``{left}`` for the time left.
            step: steps done.
            total: all, None if unknown.
            seconds: since the beginning.
            left: seconds, None if unknown.
            parts: what else the layouts name.
        """
        parts["left"] = "?" if left is None else interval(left)

        def text(layout: str) -> str:
            return tqdm.format_meter(
                step, total, seconds, ascii=self.ascii, bar_format=layout, **parts
            )

        if self._widget is not None:
            ends = [text(part).replace("{", "{{").replace("}", "}}")
                    for part in _BAR.split(layouts[0])]  # fmt: skip
            self._widget.n = step / total if total else 0.0  # of 1, which its length stands for
            self._widget.bar_format = "{bar}".join(ends)
            self._widget.refresh()
        elif self.on_terminal:
            lines = [text(layout) for layout in layouts]
            line = next((one for one in lines if len(one) <= self.room), lines[-1][: self.room])
            # The cursor goes back, so that whatever else is printed starts a line of its own.
            self._write(line.ljust(self.room) + "\r")
        else:
            self._write(text(layouts[0]).rstrip() + "\n")
        self.due = time.perf_counter() + self.period

    def next_line(self) -> None:
        """Leaves what a terminal shows and goes on below."""
        if self.on_terminal:
            self._write("\n")

    def close(self, keep: bool = False) -> None:
        """Takes the line from the terminal, or leaves it and goes on below."""
        if self not in _running:
            return
        _running.discard(self)
        if self._widget is not None:
            self._widget.leave = keep
            self._widget.close()
        elif self.on_terminal:
            self._write("\n" if keep else " " * self.room + "\r")

    @staticmethod
    def _write(text: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()


def interval(seconds: float) -> str:
    """A time as 01:02:03 or 02:03."""
    return tqdm.format_interval(max(0.0, seconds))


def progress(
    name: str, items: Iterable[Item], total: int | None = None
) -> Generator[Item, None, None]:
    """The items, while a line shows how many of them are done.

    It appears after two seconds, in a file after half a minute, and is gone in the end. Of loops
    within loops or trainings only the outermost is shown. Write a ``for``, which ends with an error
    in it; before Python 3.12 the traceback of a comprehension keeps the loop as long as itself.

    Args:
        name: what is done with them.
        items: the loop.
        total: how many; that of their length by default.

    >>> for n in progress("squares", range(4)):
    ...     print(n**2, end=" ")
    0 1 4 9
    """
    if _running:
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    display, pace = None, Pace()
    _running.add(pace)
    try:
        for step, item in enumerate(items, 1):
            yield item
            pace.note(step)
            if display is None and pace.seconds > _QUIET:
                display = Display()
                display.due = pace.began + (display.period if display.in_file else 0.0)
            if display is not None and time.perf_counter() >= display.due:
                layout = _ENDLESS if total is None else _LOOP
                left = None if total is None else pace.left(step, total)
                display.show([layout], step, total, pace.seconds, left, name=name)
    finally:
        _running.discard(pace)
        if display is not None:
            display.close()


def _notebook_bar() -> Any:
    """The bar of tqdm for notebooks, None where there is none or no ipywidgets for it."""
    if "ipykernel" not in sys.modules or find_spec("ipywidgets") is None:
        return None
    from tqdm.auto import tqdm as bar

    if not any("notebook" in base.__module__ for base in bar.__mro__):
        return None  # a kernel without a notebook
    return bar(total=1, bar_format="{bar}", mininterval=0, leave=True)
