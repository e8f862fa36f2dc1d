"""Trains a model in phases, with progress, history, checkpoints and resumption."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pyneural.training import state_tree
from pyneural.training.checkpoint import (
    CheckpointError,
    check_writable,
    load_checkpoint,
    save_checkpoint,
)
from pyneural.training.interrupt import Interrupt
from pyneural.training.objective import NonFiniteLossError, Objective
from pyneural.training.phases import Phase, Stepper
from pyneural.training.progress import Progress
from pyneural.training.step_history import StepHistory

ALL_STEPS, TIME_LIMIT, INTERRUPTED = "all steps done", "time limit", "interrupted"
_PENDING = 50  # steps whose terms stay on the device before they are read and checked


@dataclass(frozen=True)
class PhaseReport:
    """What a phase did: its steps, the seconds it took, the loss it reached, why it stopped."""

    name: str
    steps: int
    seconds: float
    loss: float
    reason: str


@dataclass(frozen=True)
class TrainingReport:
    """What ``Trainer.fit`` did: a report a phase, seconds and steps in total, why it stopped."""

    phases: tuple[PhaseReport, ...]
    seconds: float
    steps: int
    reason: str

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C stopped the training."""
        return self.reason == INTERRUPTED


class Trainer:
    """Trains a model through phases of Adam and L-BFGS.

    The whole state (weights, optimiser with its L-BFGS memory, points, generator, history) is kept
    in a checkpoint, written atomically every so many seconds and at the end. A training that is
    resumed from it, in another process too, goes on with the same numbers as one that was never
    stopped, bit by bit on the same machine and number of threads.

    Args:
        model: see ``Trainable``; ``models.PINN`` is one.
        phases: in their order.
        checkpoint: file to write, ``*.safetensors``; None for none.
        every: seconds between two checkpoints, >= 0; 0 writes one after each step.
        time_limit: seconds of training after which to stop; None for no limit.
        progress: whether to show a bar on stderr.

    Raises:
        ValueError: no phase or no parameter, a number out of its range.
        OSError: the checkpoint's directory cannot be written.

    >>> from pyneural import models, nn, pde
    >>> from pyneural.training import LBFGS, Adam
    >>> burgers = pde.Burgers()
    >>> network = nn.MLP(2, [8], 1, input_range=burgers.domain.range)
    >>> pinn = models.PINN(network, burgers.conditions(20), equation=burgers, points=50)
    >>> trainer = Trainer(pinn, [Adam(5), LBFGS(5)], progress=False)
    >>> report = trainer.fit()
    >>> report.reason, [phase.steps for phase in report.phases], len(trainer.history)
    ('all steps done', [5, 5], 10)
    """

    def __init__(
        self,
        model: Any,
        phases: Sequence[Phase],
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        every: float = 10.0,
        time_limit: float | None = None,
        progress: bool = True,
    ) -> None:
        if not phases:
            raise ValueError("Trainer: phases: expected at least one, got none; give [Adam(1000)]")
        for argument, value in (("every", every), ("time_limit", time_limit)):
            if value is not None and not value >= 0:
                raise ValueError(
                    f"Trainer: {argument}: expected seconds >= 0, got {value}; correct it"
                )
        self.model, self.phases = model, list(phases)
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        if self.checkpoint is not None:
            check_writable(self.checkpoint.parent, "Trainer: checkpoint")
        self.every, self.time_limit, self.progress = every, time_limit, progress
        self.objective = Objective(model)
        self.history = StepHistory(self.objective.names)
        self.reports: list[PhaseReport] = []
        self.seconds = 0.0
        self.phase, self.phase_step = 0, 0  # where the training is
        self._evaluations = 0  # of the phases before
        self._phase_began = 0.0  # seconds at which the phase began
        self._pending: list[tuple[Tensor | list[float], float, int]] = []
        self._saved: str = "no checkpoint was written"
        self._stepper: Stepper | None = None
        self._restored: dict[str, Any] | None = None  # of the stepper, until it begins

    def resume(self) -> int:
        """Goes back to the last good checkpoint; returns the number of steps done then.

        Warns if the last file is damaged and the one before is taken.

        Raises:
            CheckpointError: no checkpoint, all damaged, or one of another training.
        """
        if self.checkpoint is None:
            raise CheckpointError(
                "Trainer.resume: checkpoint: expected a path, got None; give Trainer a checkpoint"
            )
        tensors, record, refused = load_checkpoint(self.checkpoint)
        for text in refused:
            warnings.warn(f"{text}; the one before it is used", stacklevel=2)
        self._check_config(record["config"])
        tree = state_tree.join(record["tree"], tensors)
        self.model.load_state_dict(tree["model"])
        self.history.load_state(tree["history"])
        self._restored = tree["stepper"]
        self.reports = [PhaseReport(**report) for report in record["reports"]]
        self.seconds, self._phase_began = record["seconds"], record["phase_began"]
        self.phase, self.phase_step = record["phase"], record["phase_step"]
        self._evaluations = record["evaluations"]
        self._saved = f"the last good checkpoint is {self.checkpoint}, step {len(self.history)}"
        return len(self.history)

    def fit(self) -> TrainingReport:
        """Trains to the end of the phases, the time limit or Ctrl-C, whichever comes first.

        After Ctrl-C the step is ended and the checkpoint written; the report then says so, and
        nothing is raised. A second Ctrl-C raises KeyboardInterrupt at once.

        Raises:
            FloatingPointError: a loss term is not finite; names it and the step.
        """
        started = time.perf_counter() - self.seconds
        total = len(self.history) + sum(p.steps for p in self.phases[self.phase :])
        bar = Progress(total - self.phase_step, len(self.history), self.progress)
        reason = ALL_STEPS
        try:
            with Interrupt() as interrupt:
                while self.phase < len(self.phases):
                    reason = self._run_phase(bar, interrupt, started)
                    if reason in (TIME_LIMIT, INTERRUPTED):
                        break
            self._save()
        except NonFiniteLossError as error:
            raise FloatingPointError(
                f"Trainer: {error}; lower the learning rate or scale the data; {self._saved}"
            ) from None
        finally:
            bar.close()
        stopped = reason in (TIME_LIMIT, INTERRUPTED)
        reports = (*self.reports, self._report(reason)) if stopped else tuple(self.reports)
        whole = reason if stopped else ALL_STEPS
        return TrainingReport(reports, self.seconds, len(self.history), whole)

    def phase_starts(self) -> list[tuple[int, str]]:
        """Number of steps before each phase that was begun, and its name."""
        phase = self.history.phase
        firsts = [(phase.index(i), i) for i in sorted(set(phase))]
        return [(first, self.phases[i].name) for first, i in firsts]

    def _run_phase(self, bar: Progress, interrupt: Interrupt, started: float) -> str:
        """Makes the steps of a phase that are left; returns why it stopped."""
        phase = self.phases[self.phase]

        def watch(terms: list[float], evaluations: int) -> None:
            self.objective.check_finite(terms, self._place(self.phase_step))
            if bar.due:
                named = dict(zip(self.objective.names, terms, strict=True))
                bar.show(phase.name, len(self.history), named, self._evaluations + evaluations)

        if self.phase_step == 0:
            self.model.begin_phase(self.phase)
            self._phase_began = self.seconds
        self._stepper = stepper = phase.begin(self.objective, watch)
        if self._restored is not None:
            state_tree.load_optimizer(stepper.optimizer, self._restored["optimizer"])
            stepper.load_state(self._restored["own"])
            self._restored = None
        next_save = time.perf_counter() + self.every
        reason = ALL_STEPS
        while self.phase_step < phase.steps:
            terms = stepper.step(self.phase_step)
            self.phase_step += 1
            now = time.perf_counter()
            self.seconds = now - started
            self._pending.append((terms, self.seconds, self._evaluations + stepper.evaluations))
            if len(self._pending) >= _PENDING or bar.due:
                self._flush()
                watch(self.history.rows[-1], stepper.evaluations)
            if stepper.reason is not None:
                reason = stepper.reason
                break
            # Asked after a step: a phase that began has a step, and so a state, in its checkpoint.
            if interrupt.requested:
                reason = INTERRUPTED
                break
            if self.time_limit is not None and self.seconds >= self.time_limit:
                reason = TIME_LIMIT
                break
            if self.checkpoint is not None and now >= next_save:
                self._save()
                next_save = time.perf_counter() + self.every
        self._flush()
        if reason not in (TIME_LIMIT, INTERRUPTED):
            self.reports.append(self._report(reason))
            self._evaluations += stepper.evaluations
            self.phase, self.phase_step, self._stepper = self.phase + 1, 0, None
        return reason

    def _flush(self) -> None:
        """Reads the terms of the last steps from the device, checks them and keeps them."""
        first = self.phase_step - len(self._pending)
        pending, self._pending = self._pending, []
        for number, (terms, seconds, evaluations) in enumerate(pending, first):
            row = terms.tolist() if isinstance(terms, Tensor) else terms
            self.objective.check_finite(row, self._place(number))
            self.history.add(row, phase=self.phase, seconds=seconds, evaluations=evaluations)

    def _place(self, phase_step: int) -> str:
        return f"step {phase_step + 1} of phase {self.phase + 1} ({self.phases[self.phase].name})"

    def _report(self, reason: str) -> PhaseReport:
        name = self.phases[self.phase].name
        seconds = self.seconds - self._phase_began
        rows = self.history.rows
        loss = self.objective.total(rows[-1]) if rows else float("nan")
        return PhaseReport(name, self.phase_step, seconds, loss, reason)

    def _config(self) -> dict[str, Any]:
        phases = {f"phase {i + 1}": phase.config() for i, phase in enumerate(self.phases)}
        return {**self.model.config(), **phases}

    def _check_config(self, saved: dict[str, Any]) -> None:
        for name, mine in self._config().items():
            if name in saved and saved[name] != mine:
                raise CheckpointError(
                    f"Trainer.resume: {name}: expected {saved[name]}, as in {self.checkpoint}, "
                    f"got {mine}; use the options of the first run, or start without resuming"
                )

    def _save(self) -> None:
        """Writes the checkpoint; where that fails, warns, and training goes on."""
        if self.checkpoint is None:
            return
        self._flush()
        stepper = self._stepper
        tree: dict[str, Any] = {
            "model": self.model.state_dict(),
            "history": self.history.state(),
            "stepper": None,
        }
        if stepper is not None and self.phase_step > 0:
            optimizer = state_tree.optimizer_state(stepper.optimizer)
            tree["stepper"] = {"optimizer": optimizer, "own": stepper.state()}
        plain, tensors = state_tree.split(tree)
        record = {
            "config": self._config(),
            "phase": self.phase,
            "phase_step": self.phase_step,
            "phase_began": self._phase_began,
            "seconds": self.seconds,
            "evaluations": self._evaluations,
            "reports": [vars(report) for report in self.reports],
            "tree": plain,
        }
        try:
            save_checkpoint(self.checkpoint, tensors, record)
            self._saved = f"the last good checkpoint is {self.checkpoint}, step {len(self.history)}"
        except OSError as error:
            warnings.warn(f"checkpoint: {self.checkpoint} was not written ({error})", stacklevel=2)
