"""Levenberg and Marquardt's method: damped least squares on all data at once."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pyneural.training.checks import check
from pyneural.training.data.batches import Batch
from pyneural.training.solvers.base import Phase, Solver, Task


@dataclass(frozen=True)
class LevenbergMarquardt(Phase):
    """Steps of damped least squares.

        w <- w - J^T (J J^T + mu)^-1 r,  J = dr/dw,  if that makes |r| smaller

    The damping mu is divided by 3 after each step that does, and doubled after each that does not
    (Marquardt 1963). It needs a matrix of residuals x parameters, and comes much nearer to the
    limits of a small network than methods of first order. The model has ``residual()``, which
    gives r [N], and ``jacobian()``, dr/dw [N, P] with w in the order of ``parameters()``.

    Args:
        steps: number of trials, >= 0.
        damping: mu at the start, > 0.
    """

    name: ClassVar[str] = "Levenberg-Marquardt"

    steps: int
    damping: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("damping", self.damping > 0, "a number > 0")

    def begin(self, task: Task) -> Solver:
        """The solver, at the start."""
        return _LevenbergMarquardtSolver(task, self.damping)


class _LevenbergMarquardtSolver(Solver):
    state_attributes = (*Solver.state_attributes, "damping")
    names = ("mean_squared_residual",)

    def __init__(self, task: Task, damping: float) -> None:
        expected, got = "methods residual() and jacobian()", f"{type(task.model).__name__} without"
        good = hasattr(task.model, "jacobian")
        check(good, "LevenbergMarquardt: model", expected, got, "write them", TypeError)
        self.model: Any = task.model
        self.parameters, self.damping = list(task.model.parameters()), damping
        trained = [torch.full((p.numel(),), p.requires_grad) for p in self.parameters]
        self.trained = torch.cat(trained).to(self.parameters[0])  # [P], 1 or 0
        self._residual: Tensor | None = None  # [N], at the present parameters
        self._known: tuple[Tensor, Tensor] | None = None  # Jacobian [N, P] and its Gram matrix

    @torch.no_grad()
    def step(self, batch: Batch) -> list[Tensor]:
        # A trial is taken back where it makes the residual larger.
        residual = self.model.residual() if self._residual is None else self._residual
        if self._known is None:
            jacobian = self.model.jacobian() * self.trained
            self._known = jacobian, jacobian @ jacobian.T
        jacobian, gram = self._known
        damped = gram + self.damping * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        start = parameters_to_vector(self.parameters)
        step = jacobian.T @ torch.linalg.solve(damped, residual)
        vector_to_parameters(start - step, self.parameters)
        trial = self.model.residual()
        self.evaluations += 1
        if trial.norm() < residual.norm():
            residual, self._known, self.damping = trial, None, self.damping / 3
        else:
            vector_to_parameters(start, self.parameters)
            self.damping *= 2
        self._residual = residual
        return [residual.square().mean()]

    def objective_changed(self) -> None:
        self._residual = self._known = None
