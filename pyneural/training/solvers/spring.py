"""Natural gradients of batches with momentum: SPRING."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from pyneural.training.data.batches import Batch
from pyneural.training.solvers.base import Phase, Solver, Task
from pyneural.training.solvers.cholesky_model import cholesky_model
from pyneural.training.solvers.least_squares_solver import LeastSquaresSolver


@dataclass(frozen=True)
class SPRING(Phase):
    """Steps of damped least squares on batches, drawn to the last direction.

        phi <- argmin |r + J phi|^2 + lambda |phi - mu phi_before|^2
             = mu phi_before - J^T (J J^T + lambda I)^-1 (r + mu J phi_before)
        theta <- theta + lr_k phi,  |lr_k phi| <= max_norm,  lr_k = lr final^(k / steps)

    (subsampled projected-increment natural gradient descent; Goldshlager, Abrahamsen and Lin 2024,
    arXiv:2401.10190). Residuals r [R] and J [R, T] are those of the batch, whose fewer residuals
    than parameters leave most directions open: in these the last direction goes on, so that what
    one batch has taught is not forgotten with the next. The matrix is [R, R], or [T, T] where that
    is smaller; all is in float64.

    Weights that are learned, and those that callbacks balance, stay as they are in its steps.

    It is for minibatches, and many parameters; on all data at once ``LevenbergMarquardt``, which
    compares losses and finds its damping, needs fewer steps.

    Args:
        steps: number of steps, >= 0.
        lr: length of a step in parts of phi, > 0.
        damping: lambda, > 0.
        momentum: mu, in [0, 1).
        max_norm: of a step at most, > 0.
        final: the last lr in parts of the first, > 0.

    >>> from pyneural import models, nn, pde
    >>> burgers = pde.Burgers()
    >>> network = nn.MLP(2, [8], 1, input_range=burgers.domain.range).double()
    >>> conditions = burgers.conditions(20, dtype=torch.float64)
    >>> pinn = models.PINN(network, conditions, equation=burgers, points=100)
    >>> pinn.fit([SPRING(8)], batch_size=10, progress=False).steps
    8
    """

    name: ClassVar[str] = "SPRING"

    steps: int
    lr: float = 0.1
    damping: float = 1e-3
    momentum: float = 0.99
    max_norm: float = 0.03
    final: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lr", "damping", "max_norm", "final"):
            self.check(name, getattr(self, name) > 0, "a number > 0")
        self.check("momentum", 0 <= self.momentum < 1, "a number in [0, 1)")

    def begin(self, task: Task) -> Solver:
        """The solver, at the start."""
        return _SpringSolver(task, self)


class _SpringSolver(LeastSquaresSolver):
    """Whose ``last_step`` is phi."""

    compares_losses = False
    state_attributes = (*LeastSquaresSolver.state_attributes, "lr")

    def __init__(self, task: Task, phase: SPRING) -> None:
        super().__init__(task, phase)
        self.phase, self.lr = phase, float(phase.lr)

    @torch.no_grad()
    def step(self, batch: Batch) -> list[float]:
        """Makes one step; gives the terms where it began, [K]."""
        task, phase = self.task, self.phase
        residuals, start = self.residuals(batch), self.point()
        remedy = "give smaller batches, or a smaller network"
        linear = cholesky_model(residuals, len(start), start.device, self.kind, remedy)
        self.evaluations += 1
        values = self.unweighted(residuals, linear.losses, batch)
        if task.check_step is not None:
            task.check_step(batch, self.names, values)
        task.watch(values, self.names)
        if not linear.factor(phase.damping):
            self.reason = linear.why_not()
            return values
        phi = linear.step(None if self.last_step is None else phase.momentum * self.last_step)
        self.move(start + min(self.lr, phase.max_norm / float(phi.norm() + 1e-300)) * phi)
        self.last_step = phi
        self.lr *= float(phase.final) ** (1 / int(phase.steps))
        return values
