"""Integration of ordinary differential equations, differentiable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active as by_torch_func
from torch.utils.checkpoint import checkpoint as recomputed

from pyneural.errors import check_argument, is_whole
from pyneural.ode.step import Controller, Field, State, take_step
from pyneural.ode.tableau import METHODS, Tableau
from pyneural.ode.values import values_of


class IntegrationError(RuntimeError):
    """A solution that is not reached: its equation is stiff, or it leaves every bound."""


def odeint(
    f: Callable[[Tensor, Any], Any],
    y0: Tensor | tuple[Tensor, ...],
    t: Tensor | Sequence[float],
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    method: str = "dopri5",
    steps: int | None = None,
    max_steps: int = 1000,
    checkpoint: bool = True,
) -> Any:
    """The solution of dy/dt = f(t, y), y(t_0) = y0, at the times t.

        dopri5, adaptive: |error of a step| <= atol + rtol max(|y|, |y_next|) for every element
        dopri5 or rk4, ``steps`` equal steps from each time to the next: global error O(h^5), O(h^4)

    All rows of a batch take the same steps, and so do all samples of ``torch.func.vmap``. The
    gradient is the exact one of the numbers that were computed, with the lengths of the steps held
    fixed; it reaches y0, t and every tensor that f is made of, to any order. Nothing needs to be
    listed for it.

    Args:
        f: f(t, y) with t [] and y like y0; it returns dy/dt, of the shape and dtype of y0.
        y0: tensor of any shape, floating or complex, or a tuple of tensors.
        t: times, [T], T >= 2, increasing or decreasing.
        rtol: tolerated error of a step of the adaptive method as a share of |y|, without a unit.
        atol: tolerated error near y = 0, in the units of y: for all its elements the same, so that
            quantities of different sizes are to be scaled to the order of 1.
        method: "dopri5" or "rk4".
        steps: number of equal steps from each time to the next; None for the adaptive method.
        max_steps: of the adaptive method, rejected ones included, from each time to the next.
        checkpoint: whether the backward computes the stages of each step anew, so that memory
            holds one state a step; False keeps everything that f keeps, which saves an evaluation,
            and so do the transformations of ``torch.func``.

    Returns:
        y at the times, [T, ...], the first being y0; a tuple of these where y0 is one.

    Raises:
        ArgumentError: times that are not monotonic, tolerances that are not above zero, an unknown
            method, rk4 without steps, which has no error estimate, or an f that returns another
            shape or dtype.
        IntegrationError: max_steps are not enough, a step is too small for the time's rounding, or
            values are not finite.

    Dormand and Prince 1980, "A family of embedded Runge-Kutta formulae"; for the gradient, Zhuang
    et al. 2020, "Adaptive checkpoint adjoint method for gradient estimation in neural ODE".

    Example:
        >>> turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> y = odeint(lambda t, y: y @ turn.T, torch.tensor([0.0, 1.0]), [0.0, math.pi / 2])
        >>> torch.allclose(y[-1], torch.tensor([1.0, 0.0]), atol=1e-4)  # (sin t, cos t)
        True
    """
    state = y0 if isinstance(y0, tuple) else (y0,)
    tableau = _check(state, method, rtol, atol, steps, max_steps)
    real = state[0].real if state[0].is_complex() else state[0]
    times = torch.as_tensor(t, dtype=real.dtype, device=real.device)
    _check_times(times, steps)

    several = isinstance(y0, tuple)

    def field(time: Tensor, y: State) -> State:
        slope = f(time, y if several else y[0])
        slope = slope if several else (slope,)
        if not _is_like(slope, y):
            remedy = "return dy/dt of the shape and dtype of y"
            check_argument(False, "odeint: f", _described(y), _described(slope), remedy)
        return tuple(slope)

    integrator = _Integrator(field, tableau, checkpoint, max_steps)
    slope = integrator.evaluate(times[0], state)
    if steps is None:
        integrator.control(Controller(tableau.order, rtol, atol), times[:2], state, slope)
    solution = [state]
    for start, end in pairwise(times):
        if steps is None:
            state, slope = integrator.adaptive(start, end, state, slope)
        else:
            state, slope = integrator.fixed(start, end, state, slope, steps)
        solution.append(state)
    stacked = tuple(torch.stack(parts) for parts in zip(*solution, strict=True))
    return stacked if several else stacked[0]


class _Integrator:
    """Steps from time to time; that of the adaptive method is kept from one to the next."""

    def __init__(self, f: Field, tableau: Tableau, checkpoint: bool, max_steps: int) -> None:
        self.f, self.tableau, self.checkpoint, self.max_steps = f, tableau, checkpoint, max_steps

    def evaluate(self, t: Tensor, y: State) -> State:
        """f(t, y)."""
        return self._recomputed(self.f, t, y)

    def _recomputed(self, function: Callable[..., Any], *args: Any) -> Any:
        # torch.func has no hooks on what is saved, by which torch computes anew.
        if not (self.checkpoint and torch.is_grad_enabled()) or by_torch_func():
            return function(*args)
        options: Any = {"use_reentrant": False, "preserve_rng_state": False}
        return recomputed(function, *args, **options)

    def _step(self, t: Tensor, h: Tensor, y: State, slope: State) -> tuple[State, State, State]:
        return self._recomputed(take_step, self.f, self.tableau, t, h, y, slope)

    def fixed(
        self, start: Tensor, end: Tensor, y: State, slope: State, steps: int
    ) -> tuple[State, State]:
        """State and slope at the end of equal steps."""
        h = (end - start) / steps
        for i in range(steps):
            y, slope, _ = self._step(start + i * h, h, y, slope)
        return y, slope

    def control(self, controller: Controller, times: Tensor, y: State, slope: State) -> None:
        """Chooses the first step, by the size of y and its derivatives."""
        self.controller = controller
        start, end = times.detach()
        self.length = controller.first_step(self.f, start, end - start, y, slope)

    def adaptive(self, start: Tensor, end: Tensor, y: State, slope: State) -> tuple[State, State]:
        """State and slope at the end of steps of controlled error."""
        span, (first, last) = end - start, (_number(start), _number(end))
        whole = abs(last - first)
        smallest = 4 * torch.finfo(start.dtype).eps * max(abs(first), abs(last))
        done, taken = 0.0, 0  # parts of the span: numbers that no gradient goes through
        for _ in range(self.max_steps):
            part = self.length / whole
            is_last = done + part >= 1
            h = 1 - done if is_last else part
            trial, trial_slope, error = self._step(start + done * span, h * span, y, slope)
            found = self.controller.norm(error, y, trial)
            length = h * whole * self.controller.factor(found)
            if found <= 1:
                y, slope, taken = trial, trial_slope, taken + 1
                self.length = max(length, self.length) if is_last else length
                if is_last:
                    return y, slope
                done += h
            else:
                self.length = length
                if length < smallest:
                    raise IntegrationError(self._reason(first + done * (last - first), found))
        raise IntegrationError(
            f"odeint: max_steps: expected to reach t = {last:g}, got to "
            f"t = {first + done * (last - first):g} in {self.max_steps} steps, {taken} of them "
            f"accepted, the last ones of length {self.length:.2g}; the equation is stiff or "
            "changes fast: raise rtol and atol, or max_steps"
        )

    def _reason(self, t: float, error: float) -> str:
        where = f"odeint: f: at t = {t:g}"
        if math.isfinite(error):
            return (
                f"{where} expected steps that the time resolves, got {self.length:.2g}; raise rtol "
                "and atol, or compute in float64"
            )
        return (
            f"{where} expected finite values, got NaN or infinity however short the step; the "
            "solution is not bounded there, or f has no value"
        )


def _is_like(slope: Any, y: State) -> bool:
    """Whether it has the tensors of a state, each of its shape and dtype."""
    if not isinstance(slope, tuple | list) or len(slope) != len(y):
        return False
    return all(
        isinstance(a, Tensor) and a.shape == b.shape and a.dtype == b.dtype
        for a, b in zip(slope, y, strict=True)
    )


def _described(values: Any) -> str:
    """Shapes and dtypes of a state, or what is there instead."""
    if not isinstance(values, tuple | list):
        return type(values).__name__
    parts = [
        f"{list(part.shape)} of {str(part.dtype).removeprefix('torch.')}"
        if isinstance(part, Tensor)
        else type(part).__name__
        for part in values
    ]
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def _check(
    state: State, method: str, rtol: float, atol: float, steps: Any, max_steps: Any
) -> Tableau:
    """The method, where the arguments fit."""
    for part in state:
        good = isinstance(part, Tensor) and (part.is_floating_point() or part.is_complex())
        got = str(part.dtype) if isinstance(part, Tensor) else type(part).__name__
        remedy = "write torch.as_tensor(y0).float()"
        check_argument(good, "odeint: y0", "floating tensors", got, remedy)
    expected, got = "a tensor or several", "an empty tuple"
    check_argument(len(state) > 0, "odeint: y0", expected, got, "give a state")
    names, remedy = " or ".join(METHODS), "choose one of these"
    check_argument(method in METHODS, "odeint: method", names, repr(method), remedy)
    good = min(rtol, atol) >= 0 and max(rtol, atol) > 0
    expected, remedy = "numbers >= 0, not both 0", "such as 1e-5, 1e-6"
    check_argument(good, "odeint: rtol, atol", expected, (rtol, atol), remedy)
    good = is_whole(max_steps) and max_steps > 0
    expected, got = "a whole number above 0", repr(max_steps)
    check_argument(good, "odeint: max_steps", expected, got, "such as 1000")
    good, got = steps is None or (is_whole(steps) and steps > 0), repr(steps)
    check_argument(good, "odeint: steps", f"None or {expected}", got, "such as 100")
    good, expected = steps is not None or METHODS[method].lower is not None, "a number of steps"
    remedy = "only dopri5 is adaptive"
    check_argument(good, "odeint: steps", f"{expected} with {method}", "None", remedy)
    return METHODS[method]


def _check_times(times: Tensor, steps: int | None) -> None:
    good = times.dim() == 1 and len(times) >= 2
    got, remedy = list(times.shape), "give (start, end)"
    check_argument(good, "odeint: t", "two or more times, [T]", got, remedy)
    forward = times.detach().diff()
    finite, monotonic = times.isfinite().all(), (forward > 0).all() | (forward < 0).all()
    good = bool(values_of(finite & monotonic).all())
    expected, got = "finite times, all increasing or all decreasing", values_of(times).tolist()
    check_argument(good, "odeint: t", expected, got, "sort them")
    same = steps is not None or all(values_of(t).unique().numel() == 1 for t in times)
    expected = "the same times for all samples of vmap, which take the same steps"
    remedy = "give a number of equal steps, or solve dy/ds = T f(T s, y) up to s = 1"
    check_argument(same, "odeint: t", expected, got, remedy)


def _number(t: Tensor) -> float:
    """A time, which is the same for all samples of vmap."""
    return float(values_of(t).flatten()[0])
