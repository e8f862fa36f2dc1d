"""The nonlinear Schroedinger equation: two solitons that breathe."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet, Initial
from pyneural.pde.domains import Box
from pyneural.pde.gallery.problem import Problem, Recipe, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network


class Schroedinger(Problem):
    """The focusing nonlinear Schroedinger equation, as two real ones: h = u + i v.

        i h_t + h_xx / 2 + |h|^2 h = 0   on t in (0, pi / 2], x in (-5, 5)
        h(0, x) = 2 sech(x)

    with the boundary values of the solution on the whole line, two solitons bound to each other
    (Satsuma and Yajima, 1974):

        h = 4 exp(i t / 2) (cosh(3 x) + 3 exp(4 i t) cosh(x))
            / (cosh(4 x) + 4 cosh(2 x) + 3 cos(4 t))

    Raissi, Perdikaris and Karniadakis (2019) have a periodic boundary instead.

    >>> Schroedinger().exact(torch.tensor([0.0]), torch.tensor([0.0])).tolist()
    [[2.0, 0.0]]
    """

    inputs, outputs = "tx", "uv"
    formula = "i h_t + h_xx / 2 + |h|^2 h = 0,  h = u + i v"
    counts = 101, 201
    recipe = Recipe((20, 20, 20, 20), error=6e-7, steps=100, hard=True)

    def __init__(self) -> None:
        super().__init__()
        self.domain = Box(t=(0, math.pi / 2), x=(-5, 5))

    def residual(self, u, v):
        """Real part, imaginary part."""
        intensity = u**2 + v**2
        return u.xx / 2 - v.t + intensity * u, v.xx / 2 + u.t + intensity * v

    def conditions(self, points: int = 100, **drawing: Any) -> dict[str, Condition]:
        """Initial and boundary values, half of the points each."""
        initial, boundary = shares(self, points, 2)
        return {
            "initial": Initial(self.domain, self.exact, initial, **drawing),
            "boundary": Dirichlet(self.domain, self.exact, boundary, **drawing),
        }

    def hard(self, network: Network) -> Hard:
        """The network h = A(t, x) + t (1 - x^2 / 25) N(t, x).

        A is h(0, x) and, as x^2 / 25, the change of h at both ends, where it is the same.
        """
        end = float(self.domain.high[1])

        def lift(t: Tensor, x: Tensor) -> Tensor:
            zero, last = torch.zeros_like(t), torch.full_like(x, end)
            change = self.exact(t, last) - self.exact(zero, last)
            return self.exact(zero, x) + ((x / end) ** 2)[:, None] * change

        return Hard(network, self.domain.names, lift, lambda t, x: t * (1 - (x / end) ** 2))

    def exact(self, t: Tensor, x: Tensor) -> Tensor:
        """Exact u and v, [N, 2]."""
        below = torch.cosh(4 * x) + 4 * torch.cosh(2 * x) + 3 * torch.cos(4 * t)
        near, far = 4 * torch.cosh(3 * x) / below, 12 * torch.cosh(x) / below
        u = near * torch.cos(t / 2) + far * torch.cos(9 * t / 2)
        v = near * torch.sin(t / 2) + far * torch.sin(9 * t / 2)
        return torch.stack([u, v], -1)
