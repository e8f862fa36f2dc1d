"""The damping of a step of Levenberg and Marquardt's method, and the path that it leads along."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyneural.training.solvers.linear_model import LinearModel
from pyneural.training.solvers.residuals import Residuals

_FACTOR = 3.0  # between two dampings that are tried
_TRIES = 8  # dampings tried in a step whose first one was accepted
_MOST_TRIES = 24  # in a step until one is accepted
_DROP = 2  # failures after which the momentum is dropped
_ACCEPTED = 0.1  # reduction of the loss in parts of that of the linear model, at least
# The same, below which less damping is not tried: of 160 such steps of orders 1, 2 and 4 (Burgers,
# Helmholtz, KdV) 152 were refused.
_PROMISING = 0.85
_LEAST_DAMPING = 1e-22
_LARGEST_DAMPING = 1e12  # in parts of the square of the longest column of J


@dataclass(frozen=True)
class Trial:
    """A step that is accepted."""

    damping: float
    step: Tensor  # that is added to the parameters, [T]
    losses: Tensor  # there, [terms]
    agreement: float  # reduction of the loss in parts of that of the linear model

    @property
    def loss(self) -> float:
        """There."""
        return float(self.losses.sum())


@dataclass(frozen=True)
class Found:
    """What a search ends with: the step, if any, the damping to go on with, why there is none."""

    trial: Trial | None
    damping: float
    reason: str | None = None


class DampingSearch:
    """Tries steps from one point, along paths of some order, with ever other damping.

    Args:
        linear: the linear model of the residuals there.
        residuals: at the present parameters.
        start: those parameters, [T].
        move: sets the parameters.
        look: called before each trial; may raise.
        order: of the path, 1 to 4.
        momentum: the share of the last step that a step is drawn to, [T]; or None.
        rounding: relative change of the loss that is rounding.
    """

    def __init__(
        self,
        linear: LinearModel,
        residuals: Residuals,
        start: Tensor,
        move: Callable[[Tensor], None],
        look: Callable[[], None],
        order: int,
        momentum: Tensor | None,
        rounding: float,
    ) -> None:
        self.linear, self.residuals, self.start, self.move = linear, residuals, start, move
        self.look, self.order, self.momentum, self.rounding = look, order, momentum, rounding
        self.loss = float(linear.losses.sum())
        self.predicted = math.nan  # reduction of the linear model in the last attempt
        self.evaluations = 0  # of the residuals or their derivatives

    def __call__(self, damping: float) -> Found:
        """Begins with a damping; the parameters are afterwards those of the start."""
        trial = self.attempt(damping)
        return self._higher(damping) if trial is None else self._lower(trial)

    def attempt(self, damping: float) -> Trial | None:
        """The step of a damping; None where it is refused."""
        self.look()
        self.predicted = math.nan
        if not self.linear.factor(damping):
            return None
        first = self.linear.step(self.momentum)
        self.predicted = self.linear.reduction(first)
        step = self._path(first)
        if step is None:
            return None
        self.move(self.start + step)
        losses = self.residuals.losses()
        self.move(self.start)
        self.evaluations += 1
        reduction = float((self.linear.losses - losses).sum())
        accepted = self.predicted > 0 and reduction >= _ACCEPTED * self.predicted  # not if nan
        if self.linear.anywhere(not accepted):
            return None
        return Trial(damping, step, losses, reduction / self.predicted)

    def _path(self, first: Tensor) -> Tensor | None:
        """The step along the path that begins with v, [T]; None where the series says nothing."""
        step, directions = first, [first]
        for order in range(2, self.order + 1):
            derivative = self.residuals.path([*directions, torch.zeros_like(first)])
            self.evaluations += 1
            directions.append(self.linear.correction(derivative))
            if order == 2:
                turns = not 2 * float(directions[1].norm()) <= float(first.norm())  # nan, too
                if self.linear.anywhere(turns):
                    return None
            step = step + directions[-1] / math.factorial(order)
        return step

    def _lower(self, trial: Trial) -> Found:
        """The best of the trials of ever less damping that are accepted, and the last damping."""
        best = trial
        for _ in range(_TRIES - 1):
            damping = trial.damping / _FACTOR
            if self.linear.anywhere(trial.agreement < _PROMISING or damping < _LEAST_DAMPING):
                break
            further = self.attempt(damping)
            if further is None:
                break
            trial = further
            if not self.linear.anywhere(trial.loss > best.loss):
                best = trial
        return Found(best, trial.damping)

    def _higher(self, begin: float) -> Found:
        """The first of the trials of ever more damping that is accepted."""
        damping, largest = begin, self.linear.largest()
        for failures in range(1, _MOST_TRIES):
            # What is left is rounding where the linear model sees no more either.
            small = self.predicted <= self.rounding * self.loss
            if self.momentum is None and self.linear.anywhere(small):
                return Found(None, damping, "converged: no step makes the loss smaller")
            if self.linear.anywhere(damping > _LARGEST_DAMPING * largest):
                return Found(
                    None, damping, f"no step is accepted, up to a damping of {damping:.1g}"
                )
            damping *= _FACTOR
            if failures == _DROP and self.momentum is not None:
                self.momentum, damping = None, begin
            trial = self.attempt(damping)
            if trial is not None:
                return Found(trial, damping)
        return Found(None, damping)
