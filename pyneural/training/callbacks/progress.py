"""What a training prints: a bar or a line an epoch, or one bar for all phases."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from tqdm import tqdm

from pyneural.training.callback import NEVER, Callback
from pyneural.training.checks import check

Item = TypeVar("Item")

SILENT, BAR, LINE = 0, 1, 2  # the values of Keras's verbose
_ON_TERMINAL, _IN_FILE = 0.1, 30.0  # seconds between two displays
_USUAL_WIDTH = 80
# The first that fits the terminal is shown; three loss terms fit 80 columns by the third.
_LAYOUTS = (
    "{phase:6} {percentage:3.0f}%|{bar:20}| {steps} {elapsed}<{remaining}  {losses}  {evaluations}",
    "{phase:6} {percentage:3.0f}%|{bar:20}| {steps} {elapsed}<{remaining}  {losses}",
    "{phase:6} {percentage:3.0f}%|{bar:4}| {remaining} left  {losses}",
    "{phase:6} {percentage:3.0f}%  {losses}",
)


def checked_verbose(where: str, verbose: int | str) -> int:
    """0, 1 or 2, which is also "auto"; ValueError for another value than Keras's."""
    number = BAR if isinstance(verbose, str) and verbose == "auto" else verbose
    good = number in (SILENT, BAR, LINE)
    check(good, f"{where}: verbose", "0, 1, 2 or 'auto'", repr(verbose), "write 1")
    return int(number)


class Display:
    """A line on stderr: on a terminal drawn over the one before, elsewhere one below the other.

    ``due`` is when to draw next, on the clock of ``time.perf_counter``.
    """

    def __init__(self) -> None:
        self.on_terminal = sys.stderr.isatty()
        self.period = _ON_TERMINAL if self.on_terminal else _IN_FILE
        self.ascii = not (sys.stderr.encoding or "").lower().startswith("utf")
        self.began = time.perf_counter()
        self.due = self.began + self.period

    @property
    def room(self) -> int:
        """Columns of the terminal but the last, at which some go on to the next line."""
        try:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
        except OSError:
            width = 0
        return (width or _USUAL_WIDTH) - 1

    def draw(self, text: str) -> None:
        """Shows a text."""
        # The cursor goes back, so that whatever else is printed starts a line of its own.
        sys.stderr.write(text.ljust(self.room) + "\r" if self.on_terminal else text + "\n")
        sys.stderr.flush()
        self.due = time.perf_counter() + self.period

    def meter(self, step: float, total: float | None, first: float, **options: Any) -> str:
        """The bar at a step as tqdm writes it."""
        seconds = time.perf_counter() - self.began
        return tqdm.format_meter(step, total, seconds, initial=first, ascii=self.ascii, **options)


class Bar:
    """Shows passes over so many batches, None if unknown; values are read when a display is due."""

    def __init__(self, steps: int | None, verbose: int) -> None:
        self.steps, self.verbose = steps, verbose
        self.due = NEVER  # when to show next, while a bar is

    def begin(self, name: str, step: int = 0) -> None:
        """Starts a pass of that name at a step."""
        self._name, self._first, self._drawn = name, step, False
        if self.verbose != SILENT:
            self._display = Display()
        if self.verbose == BAR:
            self.due = self._display.due

    def show(self, step: int, means: Callable[[], Mapping[str, float]]) -> None:
        """Draws the bar at a step, with values that are read now."""
        display = self._display
        options = {"ncols": display.room, "prefix": self._name, "postfix": _values(means())}
        display.draw(display.meter(step, self.steps, self._first, unit="step", **options))
        self.due, self._drawn = display.due, True

    def end(self, step: int, logs: Mapping[str, float]) -> None:
        """Ends a pass with its final values."""
        if self.verbose == BAR:
            self.show(step, lambda: logs)
            self.close()
        elif self.verbose == LINE:
            seconds = time.perf_counter() - self._display.began
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
        """Leaves the bar as it stands and goes on below."""
        if self.due != NEVER and self._drawn and self._display.on_terminal:
            sys.stderr.write("\n")
        self.due = NEVER


class EpochProgress(Callback):
    """A bar or a line an epoch, as ``verbose`` says: SILENT, BAR or LINE."""

    in_checkpoint = False

    def __init__(self, verbose: int) -> None:
        self.verbose = verbose

    def on_train_begin(self) -> None:
        """Makes the bar."""
        run = self.run
        self.bar = Bar(len(run.batches), self.verbose if run.process_group.writes else SILENT)
        if run.step:  # inside an epoch that goes on
            self.on_epoch_begin(run.epoch)

    def on_epoch_begin(self, epoch: int) -> None:
        """Starts a bar."""
        self.bar.begin(f"Epoch {epoch + 1}/{self.run.epochs}", self.run.step)
        self.due = self.bar.due

    def on_due(self) -> None:
        """Draws it."""
        self.bar.show(self.run.step, self.run.means)
        self.due = self.bar.due

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Ends it."""
        self.bar.end(self.run.step, logs)
        self.due = NEVER

    def on_close(self) -> None:
        """Leaves it as it stands."""
        self.bar.close()


class Progress(Callback):
    """One bar for all phases: phase, steps, time and loss terms.

    On a terminal it is removed in the end. What the terminal has no room for is left out, the loss
    terms last. It moves inside the steps of a solver that makes several evaluations in one.

    Args:
        time_limit: seconds after which the training is stopped, see ``TimeLimit``. Where that is
            before the last step, at the speed until now, the bar is that of the time.
    """

    in_checkpoint = False
    inside_steps = True

    def __init__(self, time_limit: float | None = None) -> None:
        self.time_limit = NEVER if time_limit is None else time_limit

    def on_train_begin(self) -> None:
        """Starts the clock."""
        run = self.run
        if run.process_group.writes:
            left = sum(run.steps_of(phase) for phase in run.phases[run.phase :])
            spent = time.perf_counter() - run.origin
            self.begin(run.steps - run.phase_step + left, run.steps, spent)

    def begin(self, total: int, first: int = 0, spent: float = 0.0) -> None:
        """Starts the bar of so many steps, of which the first ones took so many seconds."""
        self._total, self._first, self._spent, self._display = total, first, spent, Display()
        self.due = self._display.due

    def on_due(self) -> None:
        """Shows the state of the training."""
        run = self.run
        run.read()
        terms = dict(zip(run.names, run.latest, strict=True))
        self.show(run.phases[run.phase].name, run.steps, terms, run.evaluations)

    def show(self, phase: str, step: int, terms: Mapping[str, float], evaluations: int) -> None:
        """Draws the bar."""
        display = self._display
        parts = {
            "phase": phase,
            "steps": f"{step:,}/{self._total:,}",
            "losses": " ".join(f"{name}={value:.1e}" for name, value in terms.items()),
            "evaluations": f"evaluations={evaluations:,}",
        }
        done, total, first = self._done(step)
        lines = [
            display.meter(done, total, first, bar_format=layout, **parts) for layout in _LAYOUTS
        ]
        text, room = lines[0], display.room
        if display.on_terminal:
            text = next((line for line in lines if len(line) <= room), lines[-1][:room])
        display.draw(text)
        self.due = display.due

    def _done(self, step: int) -> tuple[float, float, float]:
        """What is done, all, and the beginning, in seconds or steps, whichever end first."""
        seconds = time.perf_counter() - self._display.began
        steps = step - self._first
        left = (self._total - step) * seconds / steps if steps else NEVER
        if self.time_limit - self._spent - seconds < left:
            return self._spent + seconds, self.time_limit, self._spent
        return step, self._total, self._first

    def on_close(self) -> None:
        """Removes the bar."""
        if self.due != NEVER and self._display.on_terminal:
            self._display.draw("")
        self.due = NEVER


def _values(logs: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in logs.items())
