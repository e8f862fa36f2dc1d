"""The loop: phases, epochs and steps, which may be stopped and resumed at any step."""

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from pyneural.training.callback import Callback, overridden
from pyneural.training.data.batches import Batch, Batches
from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup
from pyneural.training.evaluation import (
    PENDING,
    Meter,
    Values,
    by_name,
    evaluate,
    finished,
)
from pyneural.training.guard import FiniteGuard
from pyneural.training.history import History
from pyneural.training.interrupt import Interrupt
from pyneural.training.resuming import ALL_STEPS, check_finished, nothing_to_do
from pyneural.training.solvers.base import Phase, PhaseReport, Solver, Task
from pyneural.training.state import random_state
from pyneural.training.state.file import refused_as_checkpoint
from pyneural.training.state.optimizer import check_trained, trained_parameters
from pyneural.training.trainable import Trainable
from pyneural.training.weights import weighted_sum

TIME_LIMIT, INTERRUPTED = "time limit", "interrupted"


class Run:
    """One training: a model, the phases of its training, batches, and callbacks.

    It knows nothing of what its callbacks do: they are told of each moment, look at ``model``,
    ``solver``, ``history``, ``phase``, ``epoch``, ``step`` and the rest, and may ``stop`` or
    ``pause`` it.

    Args:
        model, phases: trained, in that order.
        batches: to train on; ``AllData`` where each step takes all data.
        callbacks: told of each moment, in this order.
        validation: measured after each epoch, or None.
        process_group: the processes.
        initial_epoch: number of the first one.
        refuse_nonfinite: whether a loss that is not finite is an error; else it is a warning.
    """

    def __init__(
        self,
        model: Trainable,
        phases: Sequence[Phase],
        batches: Batches,
        callbacks: Sequence[Callback] = (),
        validation: Batches | None = None,
        process_group: ProcessGroup = SINGLE_PROCESS,
        *,
        refuse_nonfinite: bool = False,
        initial_epoch: int = 0,
    ) -> None:
        self.model, self.phases, self.batches = model, list(phases), batches
        self.callbacks, self.validation = [*model.own_callbacks(), *callbacks], validation
        self.process_group = process_group
        self.guard = FiniteGuard(self) if refuse_nonfinite else None
        self.device = next(model.parameters()).device
        self.history, self.meter = History(), Meter()
        self.phase = self.phase_step = self.step = 0  # steps in phase and epoch
        self.steps, self.seconds = 0, 0.0  # of all phases
        self.names: list[str] = []  # of the terms of the loss
        self.latest: Sequence[float] = ()  # terms that were read last
        self.solver = Solver()  # until the first phase has begun
        self.reports: list[PhaseReport] = []  # of the phases before
        self.due = math.inf  # when a callback is to be called, on the clock of time.perf_counter
        self.origin = time.perf_counter()  # when the training would have begun without pauses
        self.earlier_evaluations, self.first_epoch = 0, initial_epoch  # where the phase has begun
        self.epoch = self.initial_epoch = initial_epoch
        self.in_doubt = False  # whether a callback holds the state not worth a checkpoint
        self._paused: str | None = None
        self._begun = self._refused = False
        self._restored: dict[str, Any] | None = None
        self._random: Mapping[str, torch.Tensor] | None = None  # inside an epoch that goes on

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Those of the phase whose learning rates may be changed."""
        return self.solver.optimizers

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The first of them."""
        return self.optimizers[0]

    @property
    def evaluations(self) -> int:
        """Of the losses, in all phases."""
        return self.earlier_evaluations + self.solver.evaluations

    @property
    def epochs(self) -> int:
        """Of all phases at most, and those before."""
        steps = len(self.batches)
        return self.initial_epoch + sum(-(-self.steps_of(phase) // steps) for phase in self.phases)

    def steps_of(self, phase: Phase) -> int:
        """Steps of a phase at most."""
        given = phase.steps
        return int(phase.epochs or 0) * len(self.batches) if given is None else int(given)

    def stop(self, reason: str) -> None:
        """Ends the training after this step; in ``on_gradients`` before its update."""
        self.history.stopped = reason

    def pause(self, reason: str) -> None:
        """Stops after this step, to be resumed; several processes stop after the epoch."""
        self._paused = reason
        if self.process_group.size == 1:
            self.history.stopped = reason

    def objective_changed(self) -> None:
        """To be called by what changes the problem, as by new points or weights."""
        self.solver.objective_changed()

    def total(self, values: Sequence[float]) -> float:
        """Weighted sum of the terms of a step."""
        return weighted_sum(self.model.term_weights, dict(zip(self.names, values, strict=True)))

    def means(self) -> dict[str, float]:
        """Loss and terms so far in this epoch, by name; waits for the device."""
        self.read()
        return by_name(self.model, self.names, self.meter.means())

    def quantities(self) -> list[str] | None:
        """Names of all curves; None where they are not known before they are drawn."""
        names = self.model.quantities()
        for callback in self.callbacks:
            ours = type(callback).on_epoch_end.__module__.startswith("pyneural.")
            if names is None or not ours:  # a user's own may add any
                return None
            names = [*names, *callback.quantities]
        if names is not None and self.validation is not None:
            names += [f"val_{name}" for name in self.model.quantities() or ()]
        return names

    def report(self) -> list[PhaseReport]:
        """What the phases did."""
        done, stopped = self.solver.reason or ALL_STEPS, self.history.stopped or "not done"
        loss = self.total(self.latest) if len(self.latest) else math.nan
        seconds = self.seconds - sum(report.seconds for report in self.reports)
        name, reason = self.phases[self.phase].name, done if self._phase_over() else stopped
        return [*self.reports, PhaseReport(name, self.phase_step, seconds, loss, reason)]

    def __call__(self) -> None:
        """Trains to the end of the phases, or until it is stopped or paused.

        The first Ctrl-C pauses; a second one raises KeyboardInterrupt at once. With
        ``refuse_nonfinite`` a NonFiniteLossError names the term and the step.
        """
        if self._begun and self._restored is None:  # called again, to go on
            self._restored = self.state_dict()
        before = -1 if self._restored is None else self.steps
        self._paused, self._refused, told = None, False, list[Callback]()
        self.origin = time.perf_counter() - self.seconds
        self._tell("attach", self)
        self._on_gradients = overridden(self.callbacks, "on_gradients")
        self._on_train_batch_end = overridden(self.callbacks, "on_train_batch_end")
        self._on_losses = overridden(self.callbacks, "on_losses")
        try:
            with Interrupt() as self._interrupt:
                self._begin(told)
                while self.history.stopped is None and self._to_do():
                    self._run_epoch()
                if self.steps == before:
                    warnings.warn(nothing_to_do(self), stacklevel=3)
                if not self._refused:  # else the last good state is that before
                    self._tell("on_checkpoint", final=True)
        finally:
            self.model.eval()
            self.solver.close()
            for callback in told:
                callback.on_close()
        self._tell("on_train_end")

    def config(self) -> dict[str, Any]:
        """What a resumed training must have in common with the first one."""
        return {
            **self.model.config(),
            **self.batches.config(),
            "callbacks": [type(callback).__name__ for callback in self._saved()],
            "processes": self.process_group.size,
            **{f"phase {i}": phase.config() for i, phase in enumerate(self.phases, 1)},
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on: what each part says of itself."""
        self.read()
        # Each process has random numbers of its own; all take part in gathering them.
        random = random_state.capture()
        return {
            **{name: getattr(self, name).state_dict() for name in _PARTS},
            "trained": trained_parameters(self.model, self.solver.optimizers),
            "callbacks": [callback.state_dict() for callback in self._saved()],
            "random": {name: self.process_group.gather(s) for name, s in random.items()},
            "reports": [asdict(report) for report in self.reports],
            "place": {name: getattr(self, name) for name in _PLACE},
            "stopped": None if self._paused is not None else self.history.stopped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there when it is called next."""
        for name, value in state["place"].items():
            setattr(self, name, value)
        self.reports = [PhaseReport(**report) for report in state["reports"]]
        check_finished(self.reports, self.phases)
        self._restored = state

    def _begin(self, told: list[Callback]) -> None:
        """Begins or goes on; the callbacks that are told so are added to a list."""
        state, self._restored = self._restored, None
        if not self._begun:
            self._begin_phase(resumed=state is not None)
            self._begun = True
        for callback in self.callbacks:
            told.append(callback)
            callback.on_train_begin()
        self._tell("on_phase_begin", self.phase)
        if state is None:
            return
        own = trained_parameters(self.model, self.solver.optimizers)
        what, remedy = "the state of this training", "start without resuming"
        with refused_as_checkpoint("resume", what, remedy):
            check_trained(state["trained"], own)
            self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        for name in _PARTS:
            if name != "meter" or self.process_group.writes:  # the sums are those of that process
                getattr(self, name).load_state_dict(state[name])
        for callback, saved in zip(self._saved(), state["callbacks"], strict=True):
            callback.load_state_dict(saved)
        self.history.stopped = state["stopped"]
        rank, states = self.process_group.rank, state["random"].items()
        random = {name: of_ranks[rank] for name, of_ranks in states}
        random_state.restore(random)
        self._random = random if self.step else None

    def _begin_phase(self, resumed: bool = False) -> None:
        if not resumed:
            self.model.begin_phase(self.phase)
        ask = self._ask if self._on_gradients else None
        check_step = None if self.guard is None else self.guard.check_step
        task = Task(self.model, self.process_group, self._watch, ask, check_step)
        self.solver = self.phases[self.phase].begin(task)

    def _to_do(self) -> bool:
        """Whether there is a step to make; goes on to the next phase where one is over."""
        while self._phase_over():
            if self.phase + 1 >= len(self.phases):
                return False
            self.reports = self.report()
            self.earlier_evaluations = self.evaluations
            self.solver.close()
            self.phase, self.phase_step, self.first_epoch = self.phase + 1, 0, self.epoch
            self._begin_phase()
            self._tell("on_phase_begin", self.phase)
        return True

    def _phase_over(self) -> bool:
        steps, epochs = self.phases[self.phase].steps, self.phases[self.phase].epochs
        done = steps is not None and self.phase_step >= steps
        done = done or (epochs is not None and self.epoch - self.first_epoch >= epochs)
        return done or self.solver.reason is not None

    def _run_epoch(self) -> None:
        if self.step == 0:
            self._tell("on_epoch_begin", self.epoch)
        self.model.train()
        if self.step == 0:
            self.solver.check_parameters()
        self._set_alarm()
        solver, meter, clock = self.solver, self.meter, time.perf_counter
        last = math.inf if (steps := self.phases[self.phase].steps) is None else steps
        history, interrupt = self.history, self._interrupt
        following = self._on_train_batch_end
        alone, exhausted = self.process_group.size == 1, False
        batches = self.batches.epoch(self.epoch, self.step)
        if self._random is not None:  # what the batches before have drawn is forgotten
            random_state.restore(self._random)
            self._random = None
        for batch in batches:
            values = solver.step(batch)
            if values is None:  # refused, as of a loss that is not finite
                self.history.append(self.epoch, {"loss": math.nan})
                self._refused = True
                return
            self.step += 1
            self.phase_step += 1
            self.steps += 1
            now = clock()
            samples = 1 if batch is None else batch.samples
            meter.add(values, samples, now - self.origin, solver.evaluations)
            for hook in following:
                hook()
            if len(meter.pending) >= PENDING:
                self.read()
            if now >= self.due:
                self._alarm()
            if interrupt.requested and alone:
                self.pause(INTERRUPTED)
            if history.stopped is not None or solver.reason is not None or self.phase_step >= last:
                break
        else:
            exhausted = True
        self.read()
        paused = self._paused is not None and history.stopped == self._paused
        if not paused or exhausted or self.step >= len(self.batches) or self._phase_over():
            self._end_epoch()

    def _end_epoch(self) -> None:
        means = self.meter.means(self.process_group, self.device)
        logs = by_name(self.model, self.names, means)
        if self.validation is not None:
            beside = evaluate(self.model, self.validation, self.process_group)
            logs |= {f"val_{name}": value for name, value in beside.items()}
        before = self.history.history.get("loss", [])
        if not math.isfinite(logs["loss"]) and all(map(math.isfinite, before)):
            remedy = "callbacks=[TerminateOnNaN()] finds the batch and the layer"
            text = f"fit: the loss became {logs['loss']} in epoch {self.epoch + 1}; {remedy}"
            warnings.warn(text, stacklevel=2)
        self._tell("on_epoch_end", self.epoch, logs)
        self.history.append(self.epoch, logs)
        self.meter = Meter()
        self.epoch, self.step = self.epoch + 1, 0
        if self.process_group.size > 1:
            wanted = self._interrupt.requested or self._paused is not None
            if self.process_group.any(wanted, self.device) and self.history.stopped is None:
                self.history.stopped = self._paused = self._paused or INTERRUPTED
        self._tell("on_checkpoint", final=False)

    def read(self) -> None:
        """Reads the terms of the last steps from the device, checks them and hands them on."""
        rows = self.meter.read()
        if not rows:
            return
        self.names = list(self.solver.names)
        if any(isinstance(value, list) for value in rows[0].values):
            rows = [r._replace(values=finished(self.model, self.names, r.values)) for r in rows]
        self.latest, self.seconds = rows[-1].values, rows[-1].seconds
        if self.guard is not None:
            self.guard.check_rows(rows)
        for hook in self._on_losses:
            hook(rows)

    def _watch(self, values: Sequence[float], names: Sequence[str]) -> None:
        """Called by a solver whose steps are long, at each of its evaluations."""
        if self.guard is not None:
            self.guard.check(names, values, self.phase_step + 1)
        if time.perf_counter() >= self.due:
            self.read()
            self.latest, self.names = values, list(names)
            self._alarm(inside_step=True)

    def _ask(self, batch: Batch, names: Sequence[str], values: Values) -> bool:
        losses = dict(zip(names, values, strict=True))
        for hook in self._on_gradients:
            hook(batch, losses)
        return self.history.stopped is None

    def _alarm(self, inside_step: bool = False) -> None:
        now = time.perf_counter()
        for callback in self.callbacks:
            if now >= callback.due and (callback.inside_steps or not inside_step):
                callback.on_due()
        self._set_alarm()

    def _set_alarm(self) -> None:
        self.due = min((callback.due for callback in self.callbacks), default=math.inf)

    def _tell(self, hook: str, *arguments: Any, **options: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments, **options)

    def place(self) -> str:
        """The phase, in words."""
        return f"phase {self.phase + 1} ({self.phases[self.phase].name})"

    def _saved(self) -> list[Callback]:
        """Those with a state that a checkpoint holds."""
        return [callback for callback in self.callbacks if callback.in_checkpoint]


_PARTS = ("model", "solver", "batches", "meter", "history")  # with a state of their own
_PLACE = (
    "phase", "phase_step", "first_epoch", "epoch", "step", "steps", "seconds", "names", "latest",
    "earlier_evaluations",
)  # fmt: skip
