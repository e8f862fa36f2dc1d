"""Trains any model in phases, with progress, history, checkpoints and resumption."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyneural.training.callback import Callback, check_callbacks
from pyneural.training.callbacks import Checkpoint, Progress, StepHistory, TimeLimit
from pyneural.training.checks import check, check_count
from pyneural.training.data.batches import AllData, Batches
from pyneural.training.distributed import ProcessGroup
from pyneural.training.history import History
from pyneural.training.resuming import ALL_STEPS
from pyneural.training.run import INTERRUPTED, Run
from pyneural.training.solvers.base import Phase, PhaseReport, check_phases
from pyneural.training.solvers.objective import NonFiniteLossError, Objective
from pyneural.training.state.file import CheckpointError
from pyneural.training.structure import apply_trainable
from pyneural.training.trainable import Trainable


@dataclass(frozen=True)
class TrainingReport:
    """What a training did, in total and in each phase, why it stopped, and its curves."""

    phases: tuple[PhaseReport, ...]
    seconds: float
    steps: int
    reason: str
    history: History  # a value an epoch of loss, terms and what callbacks add
    step_history: StepHistory  # the terms of each step

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C stopped the training."""
        return self.reason == INTERRUPTED


class Trainer:
    """Trains a model through phases, as Adam and then L-BFGS.

    The whole state (weights, solver with its L-BFGS memory, points, generators, callbacks, history)
    is kept in a checkpoint, written atomically every so many seconds and at the end. A training
    that is resumed from it, in another process too, gives the same result as one that was never
    stopped, bit by bit on the same machine and number of threads. It may be given more steps then.

    Args:
        model: see ``Trainable``; ``models.PINN`` is one.
        phases: in their order.
        batches: as ``TensorBatches``; None where each step takes all data.
        callbacks: see ``pyneural.training.callbacks``.
        validation: batches that are measured after each epoch.
        steps_per_epoch: after how many steps an epoch ends where each step takes all data, >= 1.
        checkpoint: file to write, ``*.safetensors``; OSError if its directory cannot be written.
        every: seconds between two checkpoints, >= 0; 0 writes one after each step.
        time_limit: seconds of training after which to stop; None for no limit.
        progress: whether to show a bar on stderr.

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
        model: Trainable,
        phases: Sequence[Phase],
        *,
        batches: Batches | None = None,
        callbacks: Sequence[Callback] = (),
        validation: Batches | None = None,
        steps_per_epoch: int = 100,
        checkpoint: str | os.PathLike[str] | None = None,
        every: float = 10.0,
        time_limit: float | None = None,
        progress: bool = True,
    ) -> None:
        check_callbacks("Trainer", callbacks)
        check_phases("Trainer", phases)
        for argument, value in (("every", every), ("time_limit", time_limit)):
            check(value is None or value >= 0, f"Trainer: {argument}", "seconds >= 0", value)
        check_count("Trainer: steps_per_epoch", steps_per_epoch, 100)
        apply_trainable(model)
        Objective(model)  # refuses a model without parameters
        self.model, self.phases = model, list(phases)
        self.history = StepHistory()
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self._checkpoint: Checkpoint | None = None
        shown = [Progress(time_limit)] if progress else []
        beside = [*callbacks, self.history, TimeLimit(time_limit), *shown]
        if checkpoint is not None:
            self._checkpoint = Checkpoint(checkpoint, every, where="Trainer")
            beside.append(self._checkpoint)
        data = AllData(steps_per_epoch) if batches is None else batches
        group = ProcessGroup.join(model)
        self.run = Run(model, phases, data, beside, validation, group, refuse_nonfinite=True)

    def resume(self) -> int:
        """Goes back to the last good checkpoint; returns the number of steps done then.

        Warns if the last file is damaged and the one before is taken; CheckpointError if there is
        none or it is of another training.
        """
        expected, remedy = "a path", "give Trainer a checkpoint"
        given, where = self._checkpoint is not None, "Trainer.resume: checkpoint"
        check(given, where, expected, None, remedy, CheckpointError)
        self._checkpoint.load(self.run, "Trainer.resume")  # type: ignore[union-attr]
        return self.run.steps

    def resume_if_possible(self) -> int:
        """``resume`` if there is a checkpoint; 0 if there is none yet."""
        missing = self._checkpoint is not None and not self._checkpoint.exists()
        return 0 if missing else self.resume()

    def fit(self) -> TrainingReport:
        """Trains to the end of the phases, the time limit or Ctrl-C, whichever comes first.

        After Ctrl-C the step is ended and the checkpoint written; the report then says so, and
        nothing is raised. A second Ctrl-C raises KeyboardInterrupt at once. FloatingPointError
        names a loss term that is not finite, the step and, of an equation, the operation; the
        weights are then the last finite ones.
        """
        run = self.run
        try:
            run()
        except NonFiniteLossError as error:
            saved = getattr(self._checkpoint, "saved", "no checkpoint was written")
            remedy = "lower the learning rate or scale the data"
            if error.reason is not None:
                remedy = f"{error.reason}: keep it to what is defined, as by torch.clamp"
            raise FloatingPointError(f"Trainer: {error}; {remedy}; {error.kept}; {saved}") from None
        phases, reason = tuple(run.report()), run.history.stopped or ALL_STEPS
        return TrainingReport(phases, run.seconds, run.steps, reason, run.history, self.history)

    def phase_starts(self) -> list[tuple[int, str]]:
        """Number of steps before each phase that was begun, and its name."""
        phase = self.history.phase
        return [(phase.index(i), self.phases[i].name) for i in sorted(set(phase))]
