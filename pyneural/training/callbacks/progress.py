"""What a training prints: a bar or a line an epoch, or one bar for all phases."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from pyneural.progress import Display, Pace, interval
from pyneural.training.callback import NEVER, Callback
from pyneural.training.checks import check

Item = TypeVar("Item")

SILENT, BAR, LINE = 0, 1, 2  # the values of Keras's verbose
# The first that fits the terminal is shown; three loss terms fit 80 columns by the third.
_LAYOUTS = (
    "{phase:6} {percentage:3.0f}%|{bar:20}| {steps} {elapsed}<{left}  {losses}  {evaluations}",
    "{phase:6} {percentage:3.0f}%|{bar:20}| {steps} {elapsed}<{left}  {losses}",
    "{phase:6} {percentage:3.0f}%|{bar:4}| {left} left  {losses}",
    "{phase:6} {percentage:3.0f}%  {losses}",
)
_PASS = (
    "{name}: {percentage:3.0f}%|{bar:20}| {steps} {elapsed}<{left}{values}{all}",
    "{name}: {percentage:3.0f}%|{bar:4}| {left} left{values}{all}",
    "{name}: {percentage:3.0f}%{values}",
)
_ENDLESS = ("{name}: {steps} {elapsed}{values}",)


def checked_verbose(where: str, verbose: int | str) -> int:
    """0, 1 or 2, which is also "auto"; ValueError for another value than Keras's."""
    number = BAR if isinstance(verbose, str) and verbose == "auto" else verbose
    good = number in (SILENT, BAR, LINE)
    check(good, f"{where}: verbose", "0, 1, 2 or 'auto'", repr(verbose), "write 1")
    return int(number)


class Bar:
    """Shows passes over so many batches, None if unknown; values are read when a display is due.

    On a terminal each pass leaves a line. In a file, where every display is one, a pass that has
    ended is shown if that is due, and in any case the last.

    Args:
        steps: batches of a pass.
        verbose: SILENT, BAR or LINE.
        passes: how many there are, as counted from the first epoch of all.
        limit: seconds after which they are ended.
    """

    def __init__(
        self, steps: int | None, verbose: int, passes: int = 1, limit: float = NEVER
    ) -> None:
        self.steps, self.verbose, self.passes, self.limit = steps, verbose, passes, limit
        self.due = NEVER  # when to look next, while a bar is
        self._display: Display | None = None
        self._ended: tuple[int, Mapping[str, float]] | None = None  # a pass that is not shown yet

    def begin(self, name: str, step: int = 0, number: int = 0) -> None:
        """Starts a pass of that name and number at a step."""
        self._name, self._before, self._of_pass = name, number * (self.steps or 0), Pace(step)
        if self.verbose != BAR:
            return
        if self._display is None:
            self._display, self._in_all = Display(), Pace(self._before + step)
        self._drawn, self._ended = False, None
        self.due = min(self._in_all.next_look(), self._display.due)

    def look(self, step: int, means: Callable[[], Mapping[str, float]]) -> None:
        """Notes the pace; shows the bar at a step if that is due, with values that are read now."""
        display = self._display
        if display is None:
            return
        self._of_pass.note(step)
        self._in_all.note(self._before + step)
        if time.perf_counter() >= display.due:
            self.show(step, means())
        self.due = min(self._in_all.next_look(), display.due)

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Draws the bar at a step."""
        if self._display is None:
            return
        told, steps = _values(values), self.steps
        self._display.show(
            _PASS if steps else _ENDLESS,
            step,
            steps,
            self._of_pass.seconds,
            self._of_pass.left(step, steps) if steps else None,
            name=self._name,
            steps=f"{step:,}/{steps:,}" if steps else f"{step:,}",
            values=told and f"  {told}",
            all=self._left_in_all(step, steps) if steps else "",
        )
        self._drawn, self._ended = True, None

    def _left_in_all(self, step: int, steps: int) -> str:
        """The time until the last pass ends, while another one follows."""
        if self._before + steps >= steps * self.passes:
            return ""
        left = self._in_all.left(self._before + step, steps * self.passes)
        left = min(NEVER if left is None else left, self.limit - self._in_all.seconds)
        return "" if left == NEVER else f"  {interval(left)} in all"

    def end(self, step: int, logs: Mapping[str, float]) -> None:
        """Ends a pass with its final values."""
        if self._display is not None:
            self.look(step, lambda: logs)
            if self._display.in_file:
                self._ended = step, logs
            else:
                self.show(step, logs)
                self._display.next_line()
                self._drawn = False
        elif self.verbose == LINE:
            parts = (self._name, _values(logs), f"{self._of_pass.seconds:.1f} s")
            print("  ".join(filter(None, parts)), file=sys.stderr, flush=True)
        self.due = NEVER

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
                    self.look(step, means)
            self.end(step, means() if self.verbose else {})
        finally:
            self.close()

    def close(self) -> None:
        """Leaves what is shown and goes on below."""
        if self._display is not None:
            if self._ended is not None:
                self.show(*self._ended)
            self._display.close(keep=self._drawn or not self._display.on_terminal)
        self._display, self.due = None, NEVER


class EpochProgress(Callback):
    """A bar or a line an epoch, as ``verbose`` says: SILENT, BAR or LINE.

    Args:
        verbose: what is shown.
        time_limit: seconds after which the training is stopped, see ``TimeLimit``.
    """

    in_checkpoint = False

    def __init__(self, verbose: int, time_limit: float | None = None) -> None:
        self.verbose, self.time_limit = verbose, NEVER if time_limit is None else time_limit

    def on_train_begin(self) -> None:
        """Makes the bar."""
        run = self.run
        limit = self.time_limit - (time.perf_counter() - run.origin)
        verbose = self.verbose if run.process_group.writes else SILENT
        self.bar = Bar(len(run.batches), verbose, run.epochs, limit)
        if run.step:  # inside an epoch that goes on
            self.on_epoch_begin(run.epoch)

    def on_epoch_begin(self, epoch: int) -> None:
        """Starts a bar."""
        self.bar.begin(f"Epoch {epoch + 1}/{self.run.epochs}", self.run.step, epoch)
        self.due = self.bar.due

    def on_due(self) -> None:
        """Draws it."""
        self.bar.look(self.run.step, self.run.means)
        self.due = self.bar.due

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Ends it."""
        self.bar.end(self.run.step, logs)
        self.due = NEVER

    def on_close(self) -> None:
        """Leaves it as it stands."""
        self.bar.close()


class Progress(Callback):
    """A bar for each phase: its steps, its time, the loss terms.

    On a terminal it is removed in the end. What the terminal has no room for is left out, the loss
    terms last. It moves inside the steps of a solver that makes several evaluations in one. The
    time left is that of the phase, since that of a solver that has not begun is not known.

    Args:
        time_limit: seconds after which the training is stopped, see ``TimeLimit``. Where that is
            before the last step of the phase, the bar is that of the time.
    """

    in_checkpoint = False
    inside_steps = True

    def __init__(self, time_limit: float | None = None) -> None:
        self.time_limit = NEVER if time_limit is None else time_limit
        self._display: Display | None = None

    def on_phase_begin(self, index: int) -> None:
        """Starts the bar of the phase."""
        run = self.run
        if run.process_group.writes:
            self._place = f", phase {index + 1} of {len(run.phases)}" if len(run.phases) > 1 else ""
            spent = time.perf_counter() - run.origin
            self.begin(run.steps_of(run.phases[index]), run.phase_step, spent)

    def begin(self, total: int, first: int = 0, spent: float = 0.0) -> None:
        """Starts the bar of so many steps, of which the first were done; so many s are over."""
        self._total, self._pace, self._spent = total, Pace(first), spent
        if self._display is None:
            self._display = Display()
        self.due = min(self._pace.next_look(), self._display.due)

    def on_due(self) -> None:
        """Shows the state of the training."""
        run, display = self.run, self._display
        if display is None:
            return
        self._pace.note(run.phase_step)
        if time.perf_counter() >= display.due:
            run.read()
            terms = dict(zip(run.names, run.latest, strict=True))
            self.show(run.phases[run.phase].name, run.phase_step, terms, run.evaluations)
        self.due = min(self._pace.next_look(), display.due)

    def show(self, phase: str, step: int, terms: Mapping[str, float], evaluations: int) -> None:
        """Draws the bar."""
        if self._display is None:
            return
        seconds, left = self._pace.seconds, self._pace.left(step, self._total)
        until_limit = self.time_limit - self._spent - seconds
        of_time = left is not None and until_limit < left
        self._display.show(
            _LAYOUTS,
            min(self._spent + seconds, self.time_limit) if of_time else step,
            self.time_limit if of_time else self._total,
            seconds,
            until_limit if of_time else left,
            phase=phase,
            steps=f"{step:,}/{self._total:,}{self._place}",
            losses=" ".join(f"{name}={value:.1e}" for name, value in terms.items()),
            evaluations=f"evaluations={evaluations:,}",
        )

    def on_close(self) -> None:
        """Removes the bar."""
        if self._display is not None:
            self._display.close()
        self._display, self.due = None, NEVER

    _place = ""  # of the phase among several


def _values(logs: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in logs.items())
