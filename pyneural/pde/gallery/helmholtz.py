"""Helmholtz' equation in a square."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet
from pyneural.pde.domains import Box
from pyneural.pde.gallery.problem import Problem, Recipe, number, positive, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network


class Helmholtz(Problem):
    """Helmholtz' equation with a source, zero on the boundary.

        u_xx + u_yy + k^2 u = (k^2 - 17 pi^2) sin(pi x) sin(4 pi y)   on (-1, 1)^2
        u = 0   on the boundary

    u = sin(pi x) sin(4 pi y): the example of Wang, Teng and Perdikaris (2021).

    Args:
        k: wavenumber, > 0; a ``torch.nn.Parameter`` is learned.

    Raises:
        ValueError: k not positive.

    >>> Helmholtz().exact(torch.tensor([0.5]), torch.tensor([0.125])).tolist()
    [1.0]
    """

    inputs, outputs = "xy", "u"
    formula = "u_xx + u_yy + k^2 u = f"
    counts = 101, 101
    recipe = Recipe((20, 20, 20, 20), error=3e-10, steps=400, activation="sin", hard=True)

    def __init__(self, k: float | Tensor = 1.0) -> None:
        super().__init__()
        self.k = positive("Helmholtz: k", k, "a wavenumber")
        self.domain = Box(x=(-1, 1), y=(-1, 1))

    def residual(self, u, x, y):
        """The residual u_xx + u_yy + k^2 u minus the source."""
        mode = torch.sin(math.pi * x) * torch.sin(4 * math.pi * y)
        return u.laplacian + self.k**2 * u - (number(self.k) ** 2 - 17 * math.pi**2) * mode

    def conditions(self, points: int = 200, **drawing: Any) -> dict[str, Condition]:
        """Zero on the boundary."""
        return {"boundary": Dirichlet(self.domain, 0.0, *shares(self, points, 1), **drawing)}

    def hard(self, network: Network) -> Hard:
        """The network u = (1 - x^2) (1 - y^2) N(x, y)."""
        return Hard(network, self.domain.names, 0.0, lambda x, y: (1 - x**2) * (1 - y**2))

    def exact(self, x: Tensor, y: Tensor) -> Tensor:
        """Exact solution, [N]."""
        return torch.sin(math.pi * x) * torch.sin(4 * math.pi * y)
