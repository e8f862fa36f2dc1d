"""One step of a Runge-Kutta method, and how long the next one may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pyneural.ode.tableau import Tableau
from pyneural.ode.values import values_of

State = tuple[Tensor, ...]
Field = Callable[[Tensor, State], State]


def take_step(
    f: Field, tableau: Tableau, t: Tensor, h: Tensor, y: State, slope: State
) -> tuple[State, State, State]:
    """A step from t to t + h.

    Args:
        f: the right-hand side.
        tableau: the method.
        t: the time, [].
        h: the step, [], negative backwards in time.
        y: state at t.
        slope: f(t, y).

    Returns:
        The state and the slope at t + h, and the error estimate, which is not differentiated; it is
        zero of a method that has none.
    """
    increments = [_times(h, slope)]  # h k_i
    for c, row in zip(tableau.nodes[1:], tableau.stages[1:], strict=True):
        at = _combine(y, row, increments)
        slope = f(t + c * h, at)
        increments.append(_times(h, slope))
    if not tableau.is_first_same_as_last:
        at = _combine(y, tableau.weights, increments)
        slope = f(t + h, at)
    with torch.no_grad():
        zeros = tuple(torch.zeros_like(part) for part in y)
        error = _combine(zeros, tableau.error_weights, increments)
    return at, slope, error


def _times(h: Tensor, slope: State) -> State:
    return tuple(h * part for part in slope)


def _combine(y: State, coefficients: Sequence[float], increments: Sequence[State]) -> State:
    """The sum y + sum_j a_j (h k_j)."""
    sums = list(y)
    for a, increment in zip(coefficients, increments, strict=False):
        if a != 0:
            sums = [s.add(part, alpha=a) for s, part in zip(sums, increment, strict=True)]
    return tuple(sums)


class Controller:
    """Proportional-integral control of the step, with errors in units of the tolerance.

        h_next = 0.9 h err^(-0.85 / p) err_before^(0.2 / p),  by a factor from 0.2 to 10

    The error is the largest of all elements, each divided by atol + rtol |y|: every row of a batch
    keeps the tolerance, and so does every sample of ``torch.func.vmap``. Hairer, Nørsett and Wanner
    1993, "Solving ordinary differential equations I", section II.4; the exponents are those of
    their program DOPRI5, at which the error settles at 0.4 of the tolerance (Hairer and Wanner
    1996, "II", section IV.2).

    Args:
        order: p of the method.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """

    def __init__(self, order: int, rtol: float, atol: float) -> None:
        self.order, self.rtol, self.atol = order, rtol, atol
        self._before = 1.0

    @torch.no_grad()
    def norm(self, value: State, *states: State) -> float:
        """The largest element of a value, in units of what is tolerated at these states."""
        largest = [
            (part.abs() / (self.atol + self.rtol * _largest(parts))).amax()
            for part, *parts in zip(value, *states, strict=True)
            if part.numel() > 0
        ]
        return float(values_of(torch.stack(largest)).amax()) if largest else 0.0

    def factor(self, error: float) -> float:
        """What the step is to be multiplied by after one of an error; it was taken if <= 1."""
        if not error < float("inf"):  # also NaN
            return 0.1
        error = max(error, 1e-9)
        if error > 1:
            return max(0.2, 0.9 * error ** (-1 / self.order))
        factor = 0.9 * error ** (-0.85 / self.order) * self._before ** (0.2 / self.order)
        self._before = error
        return min(10.0, max(0.2, factor))

    @torch.no_grad()
    def first_step(self, f: Field, t: Tensor, span: Tensor, y: State, slope: State) -> float:
        """Length of a first step into the span, from the sizes of y, y' and y''."""
        whole = float(values_of(span).abs().amax())
        size, rate = self.norm(y, y), self.norm(slope, y)
        h = min(0.01 * size / rate if min(size, rate) > 1e-5 else 1e-6, whole)
        direction = h * torch.sign(span)
        moved = tuple(a + direction * b for a, b in zip(y, slope, strict=True))
        change = zip(slope, f(t + direction, moved), strict=True)
        curvature = self.norm(tuple(b - a for a, b in change), y) / h
        most = max(rate, curvature)
        second = (0.01 / most) ** (1 / self.order) if most > 1e-15 else max(1e-6, 1e-3 * h)
        length = min(100 * h, second, whole)
        return length if 0 < length < float("inf") else 1e-6 * whole  # where f is not finite


def _largest(parts: Sequence[Tensor]) -> Tensor:
    size = parts[0].abs()
    for part in parts[1:]:
        size = torch.maximum(size, part.abs())
    return size
