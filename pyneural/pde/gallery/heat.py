"""Heat in a rod, a plate, ... with cold ends."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import check_argument, whole
from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet, Initial
from pyneural.pde.domains import Box
from pyneural.pde.gallery.problem import Problem, Recipe, number, positive, shares, sobol_grid
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network

_HIGHEST = 10


class Heat(Problem):
    """Heat conduction in a rod, or in the unit cube of D dimensions, whose faces are kept cold.

        u_t - alpha laplacian u = 0   on t in (0, 1], x in (0, 1)^D
        u(0, x) = (sin(pi x_1) + sin(3 pi x_1) / 2) prod_(i > 1) sin(pi x_i),  u = 0 on all faces

    Each mode decays by itself:

        u = (exp(-D r t) sin(pi x_1) + exp(-(D + 8) r t) sin(3 pi x_1) / 2) prod_(i > 1) sin(pi x_i)

    with r = alpha pi^2. In more than two dimensions of space and time the test points are a Sobol
    sequence.

    Args:
        alpha: diffusivity, > 0; a ``torch.nn.Parameter`` is learned.
        dim: number D of dimensions in space, 1 to 10; the coordinates are x, or x1, x2, ...

    Raises:
        ValueError: alpha not positive, another number of dimensions.

    >>> heat = Heat()
    >>> u = heat.exact(t=torch.tensor([0.0, 1.0]), x=torch.tensor([0.5, 0.5]))
    >>> [round(value, 4) for value in u.tolist()]
    [0.5, 0.3726]
    >>> Heat(dim=2).inputs
    ('t', 'x1', 'x2')
    """

    outputs = "u"
    formula = "u_t = alpha laplacian u"
    recipe = Recipe((20, 20, 20, 20), error=9e-10, steps=80, hard=True)

    def __init__(self, alpha: float | Tensor = 0.1, dim: int = 1) -> None:
        dim = whole("Heat: dim", dim)
        check_argument(1 <= dim <= _HIGHEST, "Heat: dim", f"1 to {_HIGHEST}", dim)
        space = ("x",) if dim == 1 else tuple(f"x{i}" for i in range(1, dim + 1))
        self.inputs = ("t", *space)
        super().__init__()
        self.alpha = positive("Heat: alpha", alpha)
        self.domain = Box(t=(0, 1), **dict.fromkeys(space, (0, 1)))
        self.counts = (101,) * (dim + 1)
        self.section = dict.fromkeys(space[1:], 0.4)
        if dim > 1:
            self.recipe = replace(self.recipe, error=2e-8 if dim == 2 else 7e-4)

    def residual(self, u):
        """The residual u_t - alpha laplacian u."""
        return u.t - self.alpha * u.laplacian

    def conditions(self, points: int = 100, **drawing: Any) -> dict[str, Condition]:
        """Initial temperature and cold faces, half of the points each."""
        initial, boundary = shares(self, points, 2)
        return {
            "initial": Initial(self.domain, self.exact, initial, **drawing),
            "boundary": Dirichlet(self.domain, 0.0, boundary, **drawing),
        }

    def hard(self, network: Network) -> Hard:
        """The network u = u(0, x) + t prod_i 4 x_i (1 - x_i) N(t, x)."""

        def start(t: Tensor, **x: Tensor) -> Tensor:
            return self.exact(torch.zeros_like(t), **x)

        def distance(t: Tensor, **x: Tensor) -> Tensor:
            for value in x.values():
                t = 4 * t * value * (1 - value)
            return t

        return Hard(network, self.domain.names, start, distance)

    def exact(self, t: Tensor, **x: Tensor) -> Tensor:
        """Exact solution, [N]."""
        first, *others = x.values()
        rate = number(self.alpha) * math.pi**2
        dim = len(x)
        u = torch.exp(-dim * rate * t) * torch.sin(math.pi * first)
        u = u + torch.exp(-(dim + 8) * rate * t) * torch.sin(3 * math.pi * first) / 2
        for value in others:
            u = u * torch.sin(math.pi * value)
        return u

    def test_grid(self) -> tuple[Tensor, Tensor]:
        """Points and solution: a grid of t and x of a rod, else a Sobol sequence."""
        return super().test_grid() if self.domain.dim == 2 else sobol_grid(self)
