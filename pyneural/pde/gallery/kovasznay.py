"""Kovasznay's flow behind a grid."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Data, Dirichlet
from pyneural.pde.domains import Box
from pyneural.pde.gallery.flow import SteadyFlow
from pyneural.pde.gallery.problem import Recipe, number, positive, shares


class Kovasznay(SteadyFlow):
    r"""Steady flow behind a grid (Kovasznay, 1948), by the equations of ``SteadyFlow``.

        u = 1 - exp(l x) cos(2 pi y),  v = l / (2 pi) exp(l x) sin(2 pi y)
        p = (1 - exp(2 l x)) / 2,  l = 1 / (2 nu) - sqrt(1 / (4 nu^2) + 4 pi^2)

    on x in (-1/2, 1), y in (-1/2, 3/2). The velocity is given on the boundary, and the pressure,
    which the equations know up to a constant, at one corner.

    Args:
        nu: viscosity, > 0; a ``torch.nn.Parameter`` is learned.

    Raises:
        ValueError: nu not positive.

    >>> Kovasznay().exact(torch.zeros(1), torch.zeros(1)).tolist()
    [[0.0, 0.0, 0.0]]
    """

    counts = 76, 101
    recipe = Recipe((20, 20, 20, 20), error=7e-7, steps=80, weights={"u": 100, "v": 100})

    def __init__(self, nu: float | Tensor = 1 / 40) -> None:
        super().__init__()
        self.nu = positive("Kovasznay: nu", nu, "a viscosity")
        self.domain = Box(x=(-0.5, 1), y=(-0.5, 1.5))

    def conditions(self, points: int = 200, **drawing: Any) -> dict[str, Condition]:
        """Each velocity on half of the points, the pressure at one more, a corner."""
        on_u, on_v = shares(self, points, 2)
        corner = self.domain.low[None]
        pressure = Data(
            corner, self.solution(corner)[:, 2:], domain=self.domain, output=2,
            dtype=drawing.get("dtype") or torch.get_default_dtype(), device=drawing.get("device"),
        )  # fmt: skip
        return {
            "u": Dirichlet(self.domain, self.exact_u, on_u, output=0, **drawing),
            "v": Dirichlet(self.domain, self.exact_v, on_v, output=1, **drawing),
            "pressure": pressure,
        }

    @property
    def rate(self) -> float:
        """The l above, by which the flow becomes even."""
        half = 1 / (2 * number(self.nu))
        return half - math.hypot(half, 2 * math.pi)

    def exact_u(self, x: Tensor, y: Tensor) -> Tensor:
        """Exact velocity in x, [N]."""
        return 1 - torch.exp(self.rate * x) * torch.cos(2 * math.pi * y)

    def exact_v(self, x: Tensor, y: Tensor) -> Tensor:
        """Exact velocity in y, [N]."""
        wave = torch.exp(self.rate * x) * torch.sin(2 * math.pi * y)
        return self.rate / (2 * math.pi) * wave

    def exact(self, x: Tensor, y: Tensor) -> Tensor:
        """Exact u, v and p, [N, 3]."""
        p = (1 - torch.exp(2 * self.rate * x)) / 2
        return torch.stack([self.exact_u(x, y), self.exact_v(x, y), p], -1)
