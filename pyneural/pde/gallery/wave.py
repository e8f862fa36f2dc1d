"""Waves of a string."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet, Initial
from pyneural.pde.domains import Box
from pyneural.pde.gallery.periodic import periodic_network
from pyneural.pde.gallery.problem import Problem, Recipe, number, positive, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network


class Wave(Problem):
    """A string of two tones, released at rest.

        u_tt - c^2 u_xx = 0   on t in (0, 1], x in (0, 1)
        u(0, x) = sin(pi x) + sin(4 pi x) / 2,  u_t(0, x) = 0,  u(t, 0) = u(t, 1) = 0

    u = sin(pi x) cos(c pi t) + sin(4 pi x) cos(4 c pi t) / 2; at c = 2 the example of Wang, Yu and
    Perdikaris (2022), which a network of the usual kind hardly learns.

    Args:
        c: speed of the waves, > 0; a ``torch.nn.Parameter`` is learned.

    Raises:
        ValueError: c not positive.

    >>> wave = Wave()
    >>> wave.exact(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5])).round(decimals=5).tolist()
    [1.0, -1.0]
    """

    inputs, outputs = "tx", "u"
    formula = "u_tt = c^2 u_xx"
    counts = 101, 101
    recipe = Recipe((20, 20, 20, 20), error=3e-10, steps=450, activation="sin", hard=True)

    def __init__(self, c: float | Tensor = 1.0) -> None:
        super().__init__()
        self.c = positive("Wave: c", c)
        self.domain = Box(t=(0, 1), x=(0, 1))

    def residual(self, u):
        """The residual u_tt - c^2 u_xx."""
        return u.tt - self.c**2 * u.xx

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x) = sin(pi x) + sin(4 pi x) / 2."""
        return torch.sin(math.pi * x) + torch.sin(4 * math.pi * x) / 2

    def conditions(self, points: int = 100, **drawing: Any) -> dict[str, Condition]:
        """Initial position, initial velocity and fixed ends, a third of the points each."""
        initial, velocity, boundary = shares(self, points, 3)
        return {
            "initial": Initial(self.domain, self.initial, initial, **drawing),
            "velocity": Initial(self.domain, 0.0, velocity, order=1, **drawing),
            "boundary": Dirichlet(self.domain, 0.0, boundary, **drawing),
        }

    def network(self, hidden: Sequence[int] | None = None) -> torch.nn.Module:
        """A network with period 2 in x, as the string has that is odd about both ends."""
        return periodic_network(self, hidden, period=2.0)

    def hard(self, network: Network) -> Hard:
        """The network u = u(0, x) + t^2 sin(pi x) N(t, x)."""
        return Hard(
            network, self.domain.names, self.initial, lambda t, x: t**2 * torch.sin(math.pi * x)
        )

    def exact(self, t: Tensor, x: Tensor) -> Tensor:
        """Exact solution, [N]."""
        phase = number(self.c) * math.pi * t
        first = torch.sin(math.pi * x) * torch.cos(phase)
        return first + torch.sin(4 * math.pi * x) * torch.cos(4 * phase) / 2
