"""Heat in a rod with cold ends."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet, Initial
from pyneural.pde.domains import Box
from pyneural.pde.gallery.problem import Problem, Recipe, number, positive, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network


class Heat(Problem):
    """Heat conduction in a rod whose ends are kept cold.

        u_t - alpha u_xx = 0   on t in (0, 1], x in (0, 1)
        u(0, x) = sin(pi x) + sin(3 pi x) / 2,  u(t, 0) = u(t, 1) = 0

    Each sine decays by itself: u = exp(-alpha pi^2 t) sin(pi x) + exp(-9 alpha pi^2 t) sin(3 pi x)
    / 2.

    Args:
        alpha: diffusivity, > 0; a ``torch.nn.Parameter`` is learned.

    Raises:
        ValueError: alpha not positive.

    >>> heat = Heat()
    >>> u = heat.exact(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5]))
    >>> [round(value, 4) for value in u.tolist()]
    [0.5, 0.3726]
    """

    inputs, outputs = "tx", "u"
    formula = "u_t = alpha u_xx"
    counts = 101, 101
    recipe = Recipe((24, 24, 24), error=4e-4, activation="sin", hard=True, lbfgs=(700,))

    def __init__(self, alpha: float | Tensor = 0.1) -> None:
        super().__init__()
        self.alpha = positive("Heat: alpha", alpha)
        self.domain = Box(t=(0, 1), x=(0, 1))

    def residual(self, u):
        """The residual u_t - alpha u_xx."""
        return u.t - self.alpha * u.xx

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x) = sin(pi x) + sin(3 pi x) / 2."""
        return torch.sin(math.pi * x) + torch.sin(3 * math.pi * x) / 2

    def conditions(self, points: int = 100, **drawing: Any) -> dict[str, Condition]:
        """Initial temperature and cold ends, half of the points each."""
        initial, boundary = shares(self, points, 2)
        return {
            "initial": Initial(self.domain, self.initial, initial, **drawing),
            "boundary": Dirichlet(self.domain, 0.0, boundary, **drawing),
        }

    def hard(self, network: Network) -> Hard:
        """The network u = u(0, x) + t x (1 - x) N(t, x)."""
        return Hard(network, self.domain.names, self.initial, lambda t, x: t * x * (1 - x))

    def exact(self, t: Tensor, x: Tensor) -> Tensor:
        """Exact solution, [N]."""
        rate = number(self.alpha) * math.pi**2
        first = torch.exp(-rate * t) * torch.sin(math.pi * x)
        return first + torch.exp(-9 * rate * t) * torch.sin(3 * math.pi * x) / 2
