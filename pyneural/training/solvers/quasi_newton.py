"""Self-scaled quasi-Newton methods with a dense inverse Hessian: SSBroyden and SSBFGS."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from pyneural.memory import as_text, available_memory
from pyneural.training.checks import check
from pyneural.training.data.batches import Batch
from pyneural.training.solvers.base import Phase, Solver, Task
from pyneural.training.solvers.inverse_hessian import InverseHessian, Rule, ssbfgs, ssbroyden
from pyneural.training.solvers.line_search import Trial, strong_wolfe
from pyneural.training.solvers.objective import Objective
from pyneural.training.solvers.vector_solver import VectorSolver

_CURVATURE = 1e-14  # cosine of step and difference of the gradients, below which it is rounding


@dataclass(frozen=True)
class _QuasiNewton(Phase):
    steps: int
    tolerance_grad: float = 1e-12
    tolerance_change: float = 1e-14

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("tolerance_grad", self.tolerance_grad >= 0, "a number >= 0")
        self.check("tolerance_change", self.tolerance_change >= 0, "a number >= 0")


@dataclass(frozen=True)
class SSBroyden(_QuasiNewton):
    """Iterations of the self-scaled Broyden method, for all data at once.

        theta <- theta - alpha H g,   g = d loss / d theta
        H <- 1/tau (H - H y (H y)^T / (y.H y) + phi v v^T) + s s^T / (y.s)
        v = sqrt(y.H y) (s / (y.s) - H y / (y.H y))

    with the step s, the difference y of the gradients, and tau and phi by Al-Baali and Khalfan
    (2005), see ``solvers.inverse_hessian.ssbroyden``: 1 / tau takes out of H what earlier steps
    made too small. Urban, Stefanou and Pons (2025, arXiv:2405.04230) and Kiyani et al. (2025,
    arXiv:2501.16371) come with it to much smaller errors of PINNs than with BFGS or L-BFGS.
    alpha meets the strong Wolfe conditions (c1 = 1e-4, c2 = 0.9).

    It is for losses of any kind; one that is a sum of squares falls faster by
    ``LevenbergMarquardt``. H is a matrix [P, P] in float64, whatever the parameters are: 72 MB for
    3,000 of them. Where points or weights change it is kept, as the curvature of the new loss is
    much the same; it begins anew where it leads nowhere.

    Args:
        steps: number of iterations, >= 0.
        tolerance_grad: the phase ends when no element of the gradient is larger, the loss at the
            start of the phase being 1.
        tolerance_change: it ends when the loss falls by no larger a part of itself.

    Raises:
        MemoryError: no memory for H.

    >>> from pyneural.training import Trainable, Trainer
    >>> class Rosenbrock(Trainable):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.w = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    ...
    ...     def losses(self, batch=None):
    ...         x, y = self.w
    ...         return {"loss": 100 * (y - x**2) ** 2 + (1 - x) ** 2}
    >>> model = Rosenbrock()
    >>> report = Trainer(model, [SSBroyden(100)], progress=False).fit()
    >>> report.phases[0].loss < 1e-20
    True
    """

    name: ClassVar[str] = "SSBroyden"

    def begin(self, task: Task) -> Solver:
        """The solver, at the start."""
        return _QuasiNewtonSolver(task, self, ssbroyden)


@dataclass(frozen=True)
class SSBFGS(_QuasiNewton):
    """Iterations of the self-scaled BFGS method, for all data at once.

    As ``SSBroyden``, with phi = 1 and tau = min(1, y.s / s.B s), B the inverse of H (Al-Baali
    1998). It takes less from H than that does; which is faster depends on the problem.

    Args:
        steps: number of iterations, >= 0.
        tolerance_grad: see ``SSBroyden``.
        tolerance_change: see ``SSBroyden``.

    Raises:
        MemoryError: no memory for H.
    """

    name: ClassVar[str] = "SSBFGS"

    def begin(self, task: Task) -> Solver:
        """The solver, at the start."""
        return _QuasiNewtonSolver(task, self, ssbfgs)


class _Evaluation(NamedTuple):
    """Scaled loss and gradient, and the terms, at one point of the parameter space."""

    point: Tensor  # [P]
    loss: float
    gradient: Tensor  # [P]
    terms: list[float]


class _QuasiNewtonSolver(VectorSolver):
    state_attributes = (*VectorSolver.state_attributes, "hessian", "scale", "end", "direction")

    def __init__(self, task: Task, phase: _QuasiNewton, rule: Rule) -> None:
        super().__init__(task, phase)
        self.phase, self.objective = phase, Objective(task.model, task.process_group)
        size, device = len(self.point()), self.parameters[0].device
        _check_memory(self.kind, size, device)
        self.hessian = InverseHessian(size, device, rule)
        self.scale: float | None = None  # 1 / loss at the start
        self.end: Tensor | None = None  # where the last step ended, [P], and the direction
        self.direction: Tensor | None = None  # of the next one, [P]
        self._known: _Evaluation | None = None  # there
        self._batch: Batch = None  # type: ignore[assignment]

    def step(self, batch: Batch) -> list[float] | None:
        """Makes one iteration; returns the loss terms where it ended, [K]."""
        self._batch = batch
        self._look_at_weights()
        point = self.point()
        if batch is not None or self.end is None or not torch.equal(self.end, point):
            self._known = self.direction = None
        start = self._known or self._evaluate(point)
        self._known = None
        if self.task.on_gradients is not None:
            self._show(start)
            if not self.task.on_gradients(batch, self.names, list(torch.tensor(start.terms))):
                return None
        try:
            end = self._iterate(start)
        except BaseException:  # Ctrl-C and what ``watch`` raises too
            self.move(start.point)
            raise
        self.move(end.point)
        self.end, self._known = end.point, end
        return end.terms

    def objective_changed(self) -> None:
        self._known = self.direction = None
        self.hessian.symmetrise()

    def close(self) -> None:
        self.objective.close()

    def state_dict(self) -> dict[str, Any]:
        self._look_at_weights()
        return super().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.end is not None:
            self.end = self.end.to(self.hessian.matrix.device)
        if self.direction is not None:
            self.direction = self.direction.to(self.hessian.matrix.device)

    def _look_at_weights(self) -> None:
        if self.objective.has_new_weights():
            self.objective_changed()

    def _iterate(self, start: _Evaluation) -> _Evaluation:
        """Searches along -H g, and takes over what the search has shown into H."""
        phase, gradient = self.phase, start.gradient
        if not (math.isfinite(start.loss) and bool(gradient.isfinite().all())):
            self.reason = "loss or gradient not finite"
            return start
        if float(gradient.abs().max()) <= phase.tolerance_grad:
            self.reason = f"converged: gradient below {phase.tolerance_grad:g}"
            return start
        found, direction = self._search(start)
        if found.step == 0:
            self.reason = "converged: no step along the gradient lowers the loss"
            return start
        end = found.found
        s, y = found.step * direction, end.gradient - gradient
        self.direction = None
        if float(y @ s) > _CURVATURE * float(y.norm() * s.norm()):
            decrease = -found.step * float(s @ gradient)
            product = self.hessian.update(s, y, decrease, end.gradient)
            if product is None:
                self.hessian.restart()
            else:
                self.direction = -product
        if start.loss - end.loss <= phase.tolerance_change * start.loss:
            self.reason = f"converged: relative change of the loss below {phase.tolerance_change:g}"
        return end

    def _search(self, start: _Evaluation) -> tuple[Trial[_Evaluation], Tensor]:
        """The step found and its direction; H begins anew where there is none along -H g."""
        gradient = start.gradient
        while True:
            if self.direction is None:
                (product,) = self.hessian.times(gradient)
                self.direction = -product
            direction, first = self.direction, self.hessian.first
            origin = Trial(0.0, start.loss, float(gradient @ direction), start)
            if origin.slope < 0:
                # The gradient alone says nothing of the length of a step.
                step = min(1.0, 1 / float(gradient.abs().sum())) if first else 1.0

                def evaluate(step: float, direction: Tensor = direction) -> Trial[_Evaluation]:
                    there = self._evaluate(start.point + step * direction, trial=True)
                    return Trial(step, there.loss, float(there.gradient @ direction), there)

                found, _ = strong_wolfe(evaluate, origin, step)
                if found.step > 0:
                    return found, direction
            if first:
                return origin, direction
            self.hessian.restart()
            self.direction = None

    def _evaluate(self, point: Tensor, trial: bool = False) -> _Evaluation:
        """What is known of a point; a trial that is not finite is nobody's concern."""
        self.move(point)
        terms = self.objective.gradients(self._batch)
        self.names = self.objective.names
        self.evaluations += 1
        loss = self.objective.total(terms)
        if not trial or math.isfinite(loss):
            self.task.watch(terms, self.names)
        if self.scale is None:
            self.scale = 1 / loss if 0 < loss < math.inf else 1.0
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        gradient = self.flat(parts) * self.scale
        return _Evaluation(self.point(), self.scale * loss, gradient, terms)

    def _show(self, at: _Evaluation) -> None:
        """Gives the parameters their gradients, for those who want to see them."""
        gradient = at.gradient / (self.scale or 1.0)
        for parameter, part in zip(self.parameters, self.parts(gradient), strict=True):
            parameter.grad = part.to(parameter.dtype)


def _check_memory(kind: str, size: int, device: torch.device) -> None:
    """Raises where H would not fit."""
    needed, available = 8 * size**2, available_memory(device)
    check(
        available is None or needed <= available, f"{kind}: parameters",
        f"an inverse Hessian that fits into the {as_text(available or 0)} of memory that are free",
        f"{as_text(needed)} for {size:,} parameters",
        "use LBFGS, which keeps a few vectors, or GaussNewtonCG where the loss is a sum of squares",
        MemoryError,
    )  # fmt: skip
