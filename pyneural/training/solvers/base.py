"""What the engine asks of a solver, and of the phase that starts one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from pyneural.errors import is_whole
from pyneural.training.checks import check
from pyneural.training.data.batches import Batch
from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup
from pyneural.training.evaluation import Values
from pyneural.training.state.stateful import Stateful
from pyneural.training.trainable import Trainable


@dataclass(frozen=True)
class Task:
    """What a solver is given to work on.

    ``watch`` is to be called inside a long step, with the terms just evaluated and their names;
    ``on_gradients`` between gradients and update, unless it is None; False refuses the update; then
    ``check_step``, unless it is None, which raises where a term is not finite. Where ``watch``
    raises, the solver goes back to the parameters before the step.
    """

    model: Trainable
    process_group: ProcessGroup = SINGLE_PROCESS
    watch: Callable[[Sequence[float], Sequence[str]], None] = lambda values, names: None
    on_gradients: Callable[[Batch, Sequence[str], Values], bool] | None = None
    check_step: Callable[[Batch, Sequence[str], Values], None] | None = None


class Solver(Stateful):
    """Makes the steps of a phase, until ``reason`` says why there is nothing more to gain.

    A subclass has ``step``, ``names``, and in ``state_attributes`` or ``state_dict`` all that
    its next step depends on besides the model.

    >>> class Descent(Solver):
    ...     names = ("height",)
    ...
    ...     def __init__(self, task):
    ...         self.model = task.model
    ...
    ...     def step(self, batch):
    ...         self.evaluations += 1
    ...         height = self.model.losses(batch)["height"]
    ...         ...  # change the parameters
    ...         return [height.detach()]
    """

    state_attributes: tuple[str, ...] = ("evaluations", "reason")
    names: Sequence[str] = ()  # of the terms that a step gives; known after the first one
    optimizers: Sequence[torch.optim.Optimizer] = ()  # whose learning rates callbacks may change
    evaluations = 0  # of the losses
    reason: str | None = None

    def step(self, batch: Batch) -> Values | None:
        """Makes a step; gives the unweighted terms, or None if ``on_gradients`` refused it."""
        raise NotImplementedError

    def check_parameters(self) -> None:
        """Called before each epoch; raises where the model cannot be trained as it is then."""

    def objective_changed(self) -> None:
        """Forgets what it knows of the losses at other parameters, as the losses have changed."""

    def close(self) -> None:
        """Called once after the last step."""


@dataclass(frozen=True)
class PhaseReport:
    """What a phase did: its steps, the seconds it took, the loss it reached, why it stopped."""

    name: str
    steps: int
    seconds: float
    loss: float
    reason: str


class Phase:
    """A part of the training with one solver: a frozen dataclass of its options.

    ``steps`` is the number of steps at most, >= 0, or None where the ``epochs`` are counted.

    Attributes:
        name: for people.
        follows_gradients: whether each step is one of the gradient of the loss as it is then, with
            a call of ``Task.on_gradients`` before the update, so that callbacks may balance the
            weights of the terms between two steps.
    """

    name: ClassVar[str]
    follows_gradients: ClassVar[bool] = False
    steps: int | None
    epochs: int | None = None

    def __post_init__(self) -> None:
        if self.steps is not None:
            good = is_whole(self.steps) and self.steps >= 0
            self.check("steps", good, "a whole number >= 0")

    def begin(self, task: Task) -> Solver:
        """The solver, at the start."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """What a checkpoint must have in common with the phase: all but how long it is."""
        options = {name: value for name, value in vars(self).items() if name != "steps"}
        return {"phase": self.name, **options}

    def check(self, argument: str, good: bool, expected: str, whole: bool = False) -> None:
        """Raises ValueError unless an option is good, finite and, if asked for, an int."""
        value = getattr(self, argument)
        good = good and math.isfinite(value) and (is_whole(value) or not whole)
        check(good, f"{type(self).__name__}: {argument}", expected, value)


def check_phases(where: str, phases: Sequence[Phase]) -> None:
    """Raises ValueError without phases, TypeError for what is no phase."""
    check(len(phases) > 0, f"{where}: phases", "at least one", "none", "give [Adam(1000)]")
    for phase in phases:
        got = f"the class {phase.__name__}" if isinstance(phase, type) else repr(phase)
        expected, remedy = "phases of training", "write Adam(1000) or LevenbergMarquardt(100)"
        good = not isinstance(phase, type) and callable(getattr(phase, "begin", None))
        check(good, f"{where}: phases", expected, got, remedy, TypeError)
