"""Poisson's equation in one to ten dimensions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import check_argument, whole
from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet
from pyneural.pde.domains import Box
from pyneural.pde.gallery.problem import Problem, Recipe, shares, sobol_grid
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network

_HIGHEST = 10
_ON_LINE = Recipe((16, 16), error=1e-10, steps=30, points=200, condition_points=2)
_IN_SPACE = Recipe((20, 20, 20), error=2e-10, steps=100, hard=True)
_ERRORS = 2e-11, 5e-7  # in two dimensions, and in more, up to ten


class Poisson(Problem):
    r"""Poisson's equation in the unit cube, whose solution is a hill.

        -laplacian u = (2 D - 4 r^2) u,  r^2 = sum_i (x_i - 1/2)^2   on x in (0, 1)^D
        u = exp(-r^2)   on the boundary

    The right side is written with the solution exp(-r^2), not with the network's u. In more than
    two dimensions the test points are a Sobol sequence.

    Args:
        dim: number D of dimensions, 1 to 10; the coordinates are x1, x2, ...

    Raises:
        ArgumentError: another number of dimensions.

    >>> poisson = Poisson(3)
    >>> poisson.inputs, poisson.derivatives
    (('x1', 'x2', 'x3'), (Laplacian(0, 1, 2),))
    """

    outputs = "u"
    formula = "-laplacian u = f"

    def __init__(self, dim: int = 2) -> None:
        dim = whole("Poisson: dim", dim)
        check_argument(1 <= dim <= _HIGHEST, "Poisson: dim", f"1 to {_HIGHEST}", dim)
        self.inputs = tuple(f"x{i}" for i in range(1, dim + 1))
        super().__init__()
        self.domain = Box(**dict.fromkeys(self.inputs, (0, 1)))
        self.counts = (101,) * dim
        self.section = dict.fromkeys(self.inputs[2:], 0.4)
        self.recipe = _ON_LINE if dim == 1 else replace(_IN_SPACE, error=_ERRORS[dim > 2])

    def residual(self, u, **x):
        """Laplacian of u minus that of exp(-r^2)."""
        squared = sum((value - 0.5) ** 2 for value in x.values())
        return u.laplacian - (4 * squared - 2 * len(x)) * torch.exp(-squared)

    def conditions(self, points: int = 200, **drawing: Any) -> dict[str, Condition]:
        """The value on all faces, as many points on each."""
        return {"boundary": Dirichlet(self.domain, self.exact, *shares(self, points, 1), **drawing)}

    def exact(self, **x: Tensor) -> Tensor:
        """The solution exp(-r^2), [N]."""
        return torch.exp(-(torch.stack(list(x.values())) - 0.5).square().sum(0))

    def hard(self, network: Network) -> Hard:
        """The network u = exp(-r^2) (1 - b) + b N(x) with b = prod_i 4 x_i (1 - x_i).

        The value on the boundary is continued inside and fades out there, so that the network
        learns all of u.
        """

        def bubble(**x: Tensor) -> Tensor:
            values = torch.stack(list(x.values()))
            return (4 * values * (1 - values)).prod(0)

        return Hard(
            network, self.domain.names, lambda **x: self.exact(**x) * (1 - bubble(**x)), bubble
        )

    def test_grid(self) -> tuple[Tensor, Tensor]:
        """Points and solution: a grid in up to two dimensions, else a Sobol sequence."""
        return super().test_grid() if self.domain.dim <= 2 else sobol_grid(self)
