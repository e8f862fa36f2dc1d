"""torch's L-BFGS, one iteration at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyneural.training.objective import Objective

_LINE_SEARCH = 25  # evaluations in a line search at most; torch's own default


@dataclass
class _Evaluation:
    """Scaled loss, gradients and terms at one point of the parameter space."""

    parameters: Tensor  # [P]
    gradients: list[Tensor | None]
    loss: float
    terms: list[float]


class LBFGSStepper:
    """Makes iterations of ``torch.optim.LBFGS`` that equal those of one long ``step`` bit by bit.

    ``LBFGS.step`` makes many iterations, in which nothing can be saved or shown. Here each step
    is one iteration: its first evaluation, at the parameters where the last line search ended, is
    not made again but taken from the line search's evaluations. The tests for convergence, which
    ``LBFGS.step`` leaves out in its last iteration, are made here.

    The loss is multiplied by 1 / (loss at the start): ``LBFGS`` drops curvature pairs whose
    y . s is below 1e-10, which a loss of a well-trained network would always be.

    Args:
        objective: to minimise.
        watch: called with the terms and the number of evaluations at each evaluation.
        history_size: as in ``torch.optim.LBFGS``, and so the tolerances.
        tolerance_grad: on the largest element of the scaled gradient.
        tolerance_change: on the change of the scaled loss and on the largest element of a step.
    """

    def __init__(
        self,
        objective: Objective,
        watch: Callable[[list[float], int], None],
        history_size: int,
        tolerance_grad: float,
        tolerance_change: float,
    ) -> None:
        self.objective, self.watch = objective, watch
        self.tolerance_grad, self.tolerance_change = tolerance_grad, tolerance_change
        self.optimizer = torch.optim.LBFGS(
            objective.parameters,
            max_iter=1,
            max_eval=1 + _LINE_SEARCH,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn="strong_wolfe",
        )
        self.scale: float | None = None
        self.evaluations = 0
        self.reason: str | None = None
        self._known: list[_Evaluation] = []

    def step(self, index: int) -> list[float]:
        """Makes one iteration; returns the loss terms where it ended, [K]."""
        if self.scale is None:
            total = self.objective.total(self.objective.evaluate().tolist())
            self.scale = 1 / total if total > 0 else 1.0
        self.optimizer.step(self._closure)
        end = self._evaluation()
        state = self.optimizer.state[self.objective.parameters[0]]
        self._known = [end]
        self.reason = self._converged(end, state)
        return end.terms

    def state(self) -> dict[str, Any]:
        """Scale of the loss, number of evaluations."""
        return {"scale": self.scale, "evaluations": self.evaluations}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what ``state`` gave."""
        self.scale, self.evaluations = state["scale"], state["evaluations"]

    def _closure(self) -> float:
        return self._evaluation().loss

    def _evaluation(self) -> _Evaluation:
        """Loss and gradients at the present parameters, computed unless they are known."""
        parameters = self.objective.parameters
        point = torch.cat([parameter.detach().view(-1) for parameter in parameters])
        for known in self._known:
            if torch.equal(known.parameters, point):
                for parameter, gradient in zip(parameters, known.gradients, strict=True):
                    parameter.grad = gradient
                return known
        scale = 1.0 if self.scale is None else self.scale
        terms = self.objective.evaluate(scale).tolist()
        self.evaluations += 1
        self.watch(terms, self.evaluations)
        gradients = [parameter.grad for parameter in parameters]
        found = _Evaluation(point, gradients, scale * self.objective.total(terms), terms)
        self._known.append(found)
        return found

    def _converged(self, end: _Evaluation, state: dict[str, Any]) -> str | None:
        """Why there is nothing more to gain, in the order in which ``LBFGS.step`` asks."""
        gradient = torch.cat([g.view(-1) for g in end.gradients if g is not None])
        if float(gradient.abs().max()) <= self.tolerance_grad:
            return f"converged: gradient below {self.tolerance_grad:g}"
        if "prev_loss" in state:
            step = float((state["d"] * state["t"]).abs().max())
            if step <= self.tolerance_change:
                return f"converged: step below {self.tolerance_change:g}"
            if abs(end.loss - state["prev_loss"]) < self.tolerance_change:
                return f"converged: change of the loss below {self.tolerance_change:g}"
        return None
