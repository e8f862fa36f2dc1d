"""Korteweg and de Vries' equation: two solitons."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet, Initial, Neumann
from pyneural.pde.domains import Box
from pyneural.pde.gallery.problem import Problem, Recipe, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network

_SPEED_ROOTS = 1.0, 0.6  # k of each soliton: height k^2 / 2, speed k^2
_STARTS = -6.0, -1.0  # where each would be at t = 0 if it were alone and undisturbed


class Solitons(Problem):
    r"""A fast soliton overtakes a slow one.

        u_t + 6 u u_x + u_xxx = 0   on t in (0, 12], x in (-12, 12)

    with initial and boundary values (u at both ends and u_x at the right one, as the equation is
    of third order) of the solution of Hirota (1971),

        u = 2 d^2/dx^2 log F,  F = 1 + e_1 + e_2 + ((k_1 - k_2) / (k_1 + k_2))^2 e_1 e_2
        e_i = exp(k_i (x - s_i) - k_i^3 t)

    >>> solitons = Solitons()
    >>> heights = solitons.exact(torch.zeros(601), torch.linspace(-12, 12, 601))
    >>> 0.4 < float(heights.max()) < 0.55
    True
    """

    inputs, outputs = "tx", "u"
    formula = "u_t + 6 u u_x + u_xxx = 0"
    counts = 101, 201
    recipe = Recipe((20, 20, 20, 20), error=2e-8, steps=150, hard=True)

    def __init__(self) -> None:
        super().__init__()
        self.domain = Box(t=(0, 12), x=(-12, 12))

    def residual(self, u):
        """The residual u_t + 6 u u_x + u_xxx."""
        return u.t + 6 * u * u.x + u.xxx

    def conditions(self, points: int = 150, **drawing: Any) -> dict[str, Condition]:
        """Initial values, values at both ends and the slope at the right one, a third each."""
        initial, ends, slope = shares(self, points, 3)
        return {
            "initial": Initial(self.domain, self.exact, initial, **drawing),
            "boundary": Dirichlet(self.domain, self.exact, ends, **drawing),
            "slope": Neumann(
                self.domain, self.exact_slope, slope, coordinate="x", side="high", **drawing
            ),
        }

    def hard(self, network: Network) -> Hard:
        """The network u = A(t, x) + t s (1 - s)^2 N(t, x), where s goes from 0 to 1 with x.

        A is u(0, x) and a polynomial in s that corrects u at both ends and u_x at the right one.
        """
        low, high = (float(bound[1]) for bound in self.domain.range)
        length = high - low

        def change(function: Any, t: Tensor, end: float) -> Tensor:
            x = torch.full_like(t, end)
            return function(t, x) - function(torch.zeros_like(t), x)

        def lift(t: Tensor, x: Tensor) -> Tensor:
            s, start = (x - low) / length, self.exact(torch.zeros_like(t), x)
            left, right = change(self.exact, t, low), change(self.exact, t, high)
            slope = length * change(self.exact_slope, t, high)
            # Quadratic in s with these values at 0 and 1 and this slope at 1.
            bend = slope - right + left
            return start + left + s * (right - left) + bend * s * (s - 1)

        def distance(t: Tensor, x: Tensor) -> Tensor:
            s = (x - low) / length
            return t * s * (1 - s) ** 2

        return Hard(network, self.domain.names, lift, distance)

    def exact(self, t: Tensor, x: Tensor) -> Tensor:
        """Exact solution, [N]."""
        f, f_x, f_xx, _ = _tau(t, x)
        return 2 * (f_xx / f - (f_x / f) ** 2)

    def exact_slope(self, t: Tensor, x: Tensor) -> Tensor:
        """u_x of the exact solution, [N]."""
        f, f_x, f_xx, f_xxx = _tau(t, x)
        first, second = f_x / f, f_xx / f
        return 2 * (f_xxx / f - 3 * second * first + 2 * first**3)


def _tau(t: Tensor, x: Tensor) -> list[Tensor]:
    """F and its first three derivatives in x, [N] each."""
    (k1, k2), (s1, s2) = _SPEED_ROOTS, _STARTS
    e1, e2 = torch.exp(k1 * (x - s1) - k1**3 * t), torch.exp(k2 * (x - s2) - k2**3 * t)
    both = ((k1 - k2) / (k1 + k2)) ** 2 * e1 * e2
    return [(n == 0) + k1**n * e1 + k2**n * e2 + (k1 + k2) ** n * both for n in range(4)]
