"""The phases of a training: Adam, then L-BFGS."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from pyneural.training.lbfgs import LBFGSStepper
from pyneural.training.objective import Objective

Watch = Callable[[list[float], int], None]


class Stepper(Protocol):
    """The steps of a phase, until they are used up or ``reason`` says why they ended."""

    reason: str | None
    evaluations: int

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Its state is saved and loaded by the trainer."""
        ...

    def step(self, index: int) -> Tensor | list[float]:
        """Makes step number ``index`` of the phase; returns the loss terms, [K]."""
        ...

    def state(self) -> dict[str, Any]:
        """What is needed to continue, besides the optimiser's state."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what ``state`` gave."""
        ...


class Phase(Protocol):
    """A part of the training with one optimiser."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def steps(self) -> int:
        """Number of steps at most."""
        ...

    def begin(self, objective: Objective, watch: Watch) -> Stepper:
        """Starts the phase; ``watch(terms, evaluations)`` is called at evaluations."""
        ...

    def config(self) -> dict[str, Any]:
        """What a checkpoint must have in common with the phase: all but the number of steps."""
        ...


@dataclasses.dataclass(frozen=True)
class Adam:
    """Steps of Adam (Kingma and Ba, 2015) on all points, the learning rate falling exponentially.

        lr_k = lr * final^(k / steps),  k = 0 .. steps - 1

    Args:
        steps: number of steps, >= 0.
        lr: learning rate of the first step, > 0.
        final: the last learning rate in parts of the first, > 0.

    Raises:
        ValueError: a number out of its range.

    >>> Adam(100, lr=1e-2, final=0.1).rate(50)
    0.00316...
    """

    name: ClassVar[str] = "Adam"

    steps: int
    lr: float = 5e-3
    final: float = 0.1

    def __post_init__(self) -> None:
        _check(self, "steps", self.steps >= 0, "a whole number >= 0")
        _check(self, "lr", self.lr > 0, "a number > 0")
        _check(self, "final", self.final > 0, "a number > 0")

    def rate(self, index: int) -> float:
        """Learning rate of a step."""
        return self.lr * self.final ** (index / self.steps)

    def config(self) -> dict[str, Any]:
        """Kind and options, all but the number of steps."""
        return _config(self)

    def begin(self, objective: Objective, watch: Watch) -> Stepper:
        """Starts the phase."""
        return _AdamStepper(self, objective)


@dataclasses.dataclass(frozen=True)
class LBFGS:
    """Iterations of L-BFGS with strong Wolfe line search (Nocedal and Wright, 2006, ch. 7.2, 3.5).

    The loss is scaled to 1 at the start of the phase, so that the tolerances are relative to it.

    Args:
        steps: number of iterations, >= 0.
        history_size: pairs of steps and gradient differences kept, >= 1.
        tolerance_grad: the phase ends when no element of the scaled gradient is larger.
        tolerance_change: it ends when neither the scaled loss nor any parameter changes more.

    Raises:
        ValueError: a number out of its range.

    >>> LBFGS(1000).name
    'L-BFGS'
    """

    name: ClassVar[str] = "L-BFGS"

    steps: int
    history_size: int = 50
    tolerance_grad: float = 1e-9
    tolerance_change: float = 1e-12

    def __post_init__(self) -> None:
        _check(self, "steps", self.steps >= 0, "a whole number >= 0")
        _check(self, "history_size", self.history_size >= 1, "a whole number >= 1")
        _check(self, "tolerance_grad", self.tolerance_grad >= 0, "a number >= 0")
        # The line search halves its bracket until it is this small.
        _check(self, "tolerance_change", self.tolerance_change > 0, "a number > 0")

    def config(self) -> dict[str, Any]:
        """Kind and options, all but the number of iterations."""
        return _config(self)

    def begin(self, objective: Objective, watch: Watch) -> Stepper:
        """Starts the phase."""
        return LBFGSStepper(
            objective, watch, self.history_size, self.tolerance_grad, self.tolerance_change
        )


class _AdamStepper:
    def __init__(self, phase: Adam, objective: Objective) -> None:
        self.phase, self.objective = phase, objective
        self.optimizer = torch.optim.Adam(objective.parameters, lr=phase.lr, fused=True)
        self.reason: str | None = None
        self.evaluations = 0

    def step(self, index: int) -> Tensor:
        self.optimizer.param_groups[0]["lr"] = self.phase.rate(index)
        terms = self.objective.evaluate()
        self.evaluations += 1
        self.optimizer.step()
        return terms

    def state(self) -> dict[str, Any]:
        return {"evaluations": self.evaluations}

    def load_state(self, state: dict[str, Any]) -> None:
        self.evaluations = state["evaluations"]


def _config(phase: Adam | LBFGS) -> dict[str, Any]:
    options = dataclasses.asdict(phase)
    del options["steps"]
    return {"phase": phase.name, **options}


def _check(phase: Adam | LBFGS, argument: str, good: bool, expected: str) -> None:
    value = getattr(phase, argument)
    whole = argument in ("steps", "history_size")
    if not good or not math.isfinite(value) or (whole and not isinstance(value, int)):
        raise ValueError(
            f"{type(phase).__name__}: {argument}: expected {expected}, got {value}; correct it"
        )
