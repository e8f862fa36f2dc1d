"""Allen and Cahn's equation: phases that separate."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet, Initial
from pyneural.pde.domains import Box
from pyneural.pde.gallery.problem import Problem, Recipe, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network
from pyneural.pde.spectral import Chebyshev

_DEGREE, _STEPS = 256, 40  # of the solver: a relative error below 1e-5


class AllenCahn(Problem):
    """Two phases u = -1 and u = 1 separate, with sharp fronts.

        u_t - 0.001 u_xx - 5 (u - u^3) = 0   on t in (0, 1], x in (-1, 1)
        u(0, x) = x^2 cos(pi x),  u(t, -1) = u(t, 1) = -1

    The example of DeepXDE (Lu et al., 2021).

    >>> AllenCahn.initial(torch.tensor([0.0, 1.0])).tolist()
    [0.0, -1.0]
    """

    inputs, outputs = "tx", "u"
    formula = "u_t = 0.001 u_xx + 5 (u - u^3)"
    reference = "a Chebyshev solution"
    counts = 41, 201
    recipe = Recipe((40, 40, 40), error=7e-2, hard=True, points=3000, adam=2000, lbfgs=(2000,))

    def __init__(self) -> None:
        super().__init__()
        self.domain = Box(t=(0, 1), x=(-1, 1))

    def residual(self, u):
        """The residual u_t - 0.001 u_xx - 5 (u - u^3)."""
        return u.t - 1e-3 * u.xx - 5 * (u - u**3)

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x) = x^2 cos(pi x)."""
        return x**2 * torch.cos(math.pi * x)

    def conditions(self, points: int = 100, **drawing: Any) -> dict[str, Condition]:
        """The start and the values at both ends, half of the points each."""
        initial, boundary = shares(self, points, 2)
        return {
            "initial": Initial(self.domain, self.initial, initial, **drawing),
            "boundary": Dirichlet(self.domain, -1.0, boundary, **drawing),
        }

    def hard(self, network: Network) -> Hard:
        """The network u = u(0, x) + t (1 - x^2) N(t, x)."""
        return Hard(network, self.domain.names, self.initial, lambda t, x: t * (1 - x**2))

    def test_grid(self) -> tuple[Tensor, Tensor]:
        """Points of a regular grid [N, 2], and u there [N, 1], float64."""
        points = self.domain.grid(*self.counts, dtype=torch.float64)
        ends = {"x": (lambda u: u + 1, lambda u: u + 1)}
        solver = Chebyshev(self, self.domain, ends, self.initial)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not to 1e-10: the fronts are sharp
            return points, solver.solve(_DEGREE, _STEPS, points[:, 0].unique())(points)
