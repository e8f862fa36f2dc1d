"""Levenberg and Marquardt's method along a curved path: damped least squares on all data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyneural.errors import is_whole
from pyneural.training.data.batches import Batch
from pyneural.training.solvers.base import Phase, Solver, Task
from pyneural.training.solvers.cholesky_model import cholesky_model
from pyneural.training.solvers.damping_search import DampingSearch
from pyneural.training.solvers.least_squares_solver import LeastSquaresSolver
from pyneural.training.solvers.linear_model import LinearModel
from pyneural.training.solvers.residuals import Residuals

_LITTLE = 0.02  # gain of a step, below which costlier steps are worth trying


@dataclass(frozen=True)
class LevenbergMarquardt(Phase):
    """Steps of damped least squares along a path of up to fourth order.

    The loss is |r|^2, the sum of the squares of all residuals r [R], weights and means included.
    With J = dr/dtheta, the damping lambda, and the last step p, a step is v + a/2 + j/6 + q/24:

        v = argmin |r + J v|^2 + lambda |v - momentum p|^2
        a = -(J^T J + lambda I)^-1 J^T c_2,   c_2 = d^2 r(theta + tau v) / dtau^2
        j = -(J^T J + lambda I)^-1 J^T c_3,   c_3 = d^3 r(theta + tau v + tau^2 a/2) / dtau^3
        q = -(J^T J + lambda I)^-1 J^T c_4,   c_4 likewise with tau^3 j/6,  all at tau = 0

    so that r follows the path to which the linear model leads, by one more order each. A step is
    refused where 2 |a| > |v|, beyond which the series says nothing, and accepted where the loss
    falls by 0.1 or more of what the linear model says. As long as it falls by 0.85 or more of that,
    a step of a third of the damping is tried, 8 steps in all, and of those accepted the one with
    the least loss is made. Where the first is refused, the damping is multiplied by 3 until a step
    is accepted. After two failures the momentum is dropped, and the damping begins anew with that
    of the step. A residual or a matrix that is not finite or not positive definite is a failure
    like any other.

    It needs a loss of squares (``Trainable.least_squares``), as that of a PINN, and takes a matrix
    of parameters by parameters, or of residuals by residuals where these are fewer: up to some
    5,000 of them it comes nearer to the limits of a network than any other of the solvers, in
    float64 to those of the arithmetic: where steps gain little, and the damping is lost in the
    rounding of J^T J, the equations are made of J, at three times the cost. All matrices are in
    float64; of a network in float32 the residuals are not, and the loss stalls where it no longer
    sees its own steps. No steps of Adam are needed before. Learned weights of terms stay as they
    are.

    Args:
        steps: number of steps, >= 0; a step tries about two dampings.
        order: of the path, 1 to 4: v alone, ... to q.
        damping: lambda at the start, > 0.
        momentum: share of the last step, in [0, 1).
        tolerance_change: the phase ends when the loss falls by no larger a part of itself; at least
            the rounding of the parameters' dtype (2e-16 in float64, 1e-7 in float32).
        tolerance_grad: it ends when no |cosine| of the angle between r and a column of J is larger.

    Raises:
        MemoryError: in the first step, matrices that do not fit into the memory.

    Sources: Levenberg 1944, Marquardt 1963; a: geodesic acceleration, Transtrum and Sethna 2012
    (arXiv:1201.5885), whose bound on |a| is the one here; momentum: SPRING, Goldshlager, Abrahamsen
    and Lin 2024 (arXiv:2401.10190).

    >>> from pyneural.training import Trainable, Trainer
    >>> class Rosenbrock(Trainable):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.w = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    ...
    ...     def least_squares(self, batch=None):
    ...         return {
    ...             "valley": lambda: 10 * (self.w[1:] - self.w[:1] ** 2),
    ...             "slope": lambda: 1 - self.w[:1],
    ...         }
    >>> model = Rosenbrock()
    >>> report = Trainer(model, [LevenbergMarquardt(20)], progress=False).fit()
    >>> report.phases[0].loss < 1e-20
    True
    """

    name: ClassVar[str] = "Levenberg-Marquardt"

    steps: int
    order: int = 4
    damping: float = 1e-3
    momentum: float = 0.5
    tolerance_change: float = 1e-12
    tolerance_grad: float = 1e-14

    def __post_init__(self) -> None:
        super().__post_init__()
        good = is_whole(self.order) and 1 <= self.order <= 4
        self.check("order", good, "a whole number from 1 to 4", whole=True)
        self.check("damping", self.damping > 0, "a number > 0")
        self.check("momentum", 0 <= self.momentum < 1, "a number in [0, 1)")
        self.check("tolerance_change", self.tolerance_change >= 0, "a number >= 0")
        self.check("tolerance_grad", self.tolerance_grad >= 0, "a number >= 0")

    def begin(self, task: Task) -> Solver:
        """The solver, at the start."""
        return _LevenbergMarquardtSolver(task, self)

    def linear_model(
        self, residuals: Residuals, start: Tensor, seed: int, rounding: float
    ) -> LinearModel:
        """That of the residuals at parameters [T].

        The seed is for what is drawn at random, the rounding is that of the parameters' dtype.
        """
        remedy = "use GaussNewtonCG or LBFGS instead, or a smaller network"
        return cholesky_model(residuals, len(start), start.device, type(self).__name__, remedy)


class _LevenbergMarquardtSolver(LeastSquaresSolver):
    state_attributes = (*LeastSquaresSolver.state_attributes, "damping", "gain")

    def __init__(self, task: Task, phase: LevenbergMarquardt) -> None:
        super().__init__(task, phase)
        self.phase, self.damping = phase, float(phase.damping)
        self.gain = 1.0  # part of the loss by which the last step made it smaller
        self._rounding = max(torch.finfo(parameter.dtype).eps for parameter in self.parameters)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave; earlier versions gave no gain."""
        super().load_state_dict({"gain": 1.0, **state})

    @torch.no_grad()
    def step(self, batch: Batch) -> list[float]:
        """Makes one step; gives the terms where it ended, [K]."""
        task, phase = self.task, self.phase
        residuals, start = self.residuals(batch), self.point()
        linear = phase.linear_model(residuals, start, self.evaluations, self._rounding)
        self.evaluations += 1
        if self.gain < _LITTLE:
            linear.refine()
        values = self.unweighted(residuals, linear.losses, batch)
        if task.check_step is not None:
            task.check_step(batch, self.names, values)
        self.reason = self._nothing_to_gain(linear)
        if linear.anywhere(self.reason is not None):
            self.reason = self.reason or "another process has nothing to gain"
            return values
        search = DampingSearch(
            linear, residuals, start, self.move, lambda: task.watch(values, self.names),
            phase.order, None if self.last_step is None else phase.momentum * self.last_step,
            self._rounding,
        )  # fmt: skip
        try:
            found = search(self.damping)
            if found.trial is None and linear.refine():
                found = search(self.damping)
            trial = found.trial
            if trial is not None:
                self.move(start + trial.step)
        except BaseException:  # Ctrl-C, too
            self.move(start)
            raise
        finally:
            self.evaluations += search.evaluations
        self.damping, self.reason = found.damping, found.reason
        self.last_step = None if trial is None else trial.step
        if trial is None:
            return values
        self.gain = 1 - trial.loss / search.loss
        least = max(phase.tolerance_change, self._rounding)
        if search.loss - trial.loss <= least * search.loss:
            self.reason = f"converged: relative change of the loss below {least:.1g}"
        return self.unweighted(residuals, trial.losses, batch)

    def _nothing_to_gain(self, linear: LinearModel) -> str | None:
        loss, tolerance = float(linear.losses.sum()), self.phase.tolerance_grad
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if loss == 0:
            return "converged: the loss is 0"
        cosine = linear.steepest()
        if not math.isfinite(cosine):
            return "the Jacobian is not finite"
        if linear.largest() == 0:
            return "the Jacobian is 0: no residual depends on the parameters"
        return f"converged: gradient below {tolerance:g}" if cosine <= tolerance else None
