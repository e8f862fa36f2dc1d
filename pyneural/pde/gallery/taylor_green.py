"""Taylor and Green's vortices, which decay."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Data, Dirichlet, Initial
from pyneural.pde.domains import Box
from pyneural.pde.gallery.flow import Flow
from pyneural.pde.gallery.problem import Recipe, number, positive, shares


class TaylorGreen(Flow):
    """Decaying vortices (Taylor and Green, 1937), by the Navier-Stokes equations of ``Flow``.

        u = -cos(x) sin(y) exp(-2 nu t),  v = sin(x) cos(y) exp(-2 nu t)
        p = -(cos(2 x) + cos(2 y)) exp(-4 nu t) / 4   on t in [0, 1], x, y in [0, pi]

    The velocity is given at t = 0 and on the boundary. The equations know the pressure up to a
    function of time, so that it is given at one corner.

    Args:
        nu: viscosity, > 0; a ``torch.nn.Parameter`` is learned.

    Raises:
        ValueError: nu not positive.

    >>> zero = torch.zeros(1)
    >>> TaylorGreen().exact(zero, zero, zero + math.pi / 2).round(decimals=5).tolist()
    [[-1.0, 0.0, 0.0]]
    """

    counts = 11, 41, 41
    section = {"t": 1.0}  # noqa: RUF012
    recipe = Recipe((20, 20, 20), error=3e-5, steps=60, condition_points=600)

    def __init__(self, nu: float | Tensor = 0.1) -> None:
        super().__init__()
        self.nu = positive("TaylorGreen: nu", nu, "a viscosity")
        self.domain = Box(t=(0, 1), x=(0, math.pi), y=(0, math.pi))

    def conditions(self, points: int = 500, **drawing: Any) -> dict[str, Condition]:
        """Each velocity at t = 0 and on the boundary, the pressure at a corner; a fifth each."""
        counts, domain = shares(self, points, 5), self.domain
        corner = domain.sample(counts[4], **drawing)
        corner[:, 1:] = 0
        pressure = self.solution(corner.double())[:, 2].to(corner)
        return {
            "initial u": Initial(domain, self.exact_u, counts[0], output=0, **drawing),
            "initial v": Initial(domain, self.exact_v, counts[1], output=1, **drawing),
            "boundary u": Dirichlet(domain, self.exact_u, counts[2], output=0, **drawing),
            "boundary v": Dirichlet(domain, self.exact_v, counts[3], output=1, **drawing),
            "pressure": Data(corner, pressure, domain=domain, output=2),
        }

    def exact_u(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Exact velocity in x, [N]."""
        return -torch.cos(x) * torch.sin(y) * torch.exp(-2 * number(self.nu) * t)

    def exact_v(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Exact velocity in y, [N]."""
        return torch.sin(x) * torch.cos(y) * torch.exp(-2 * number(self.nu) * t)

    def exact(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Exact u, v and p, [N, 3]."""
        decay = torch.exp(-4 * number(self.nu) * t)
        p = -(torch.cos(2 * x) + torch.cos(2 * y)) * decay / 4
        return torch.stack([self.exact_u(t, x, y), self.exact_v(t, x, y), p], -1)
