"""Flow in a cavity whose lid moves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyneural.errors import check_argument
from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Data, Dirichlet
from pyneural.pde.domains import Box
from pyneural.pde.gallery.flow import SteadyFlow
from pyneural.pde.gallery.problem import Recipe, finite, shares

_FIELDS = Path(__file__).with_name("cavity.npz")
_KNOWN = 100, 400, 1000, 3200


class Cavity(SteadyFlow):
    """Steady flow in a square cavity whose lid moves to the right, by ``SteadyFlow``, nu = 1 / Re.

        u = 1, v = 0 on the lid y = 1,  u = v = 0 on the other walls of (0, 1)^2,  p(0, 0) = 0

    The reference is a spectral solution of ``build_tools/make_cavity.py``, in which the velocity
    jumps at the corners under the lid, on a grid of 33 x 33 points without these corners. Series of
    degrees 40 and 50 differ by 3e-5, 1.3e-4, 6e-4 and 2.7e-3 of its norm at Re = 100, 400, 1000 and
    3200, most of it at these corners. In the centre, at Re = 100, the table of Ghia, Ghia and Shin
    (1982) is 3e-3 of the lid's speed from it.

    Args:
        reynolds: Re, 100, 400, 1000 or 3200.

    Raises:
        ValueError: a Reynolds number without a reference.

    >>> points, values = Cavity().test_grid()
    >>> points.shape, values[0, 0].item()
    (torch.Size([1087, 2]), 0.0)
    """

    reference = "a spectral solution"
    counts = 101, 101  # where it is drawn
    recipe = Recipe((20, 20, 20, 20), error=2e-2, steps=80, weights={"u": 100, "v": 100})

    def __init__(self, reynolds: float = 100) -> None:
        super().__init__()
        finite("Cavity: reynolds", reynolds)
        known = ", ".join(map(str, _KNOWN))
        check_argument(
            reynolds in _KNOWN, "Cavity: reynolds", f"one of {known}", reynolds,
            "or write a SteadyFlow with your own nu",
        )  # fmt: skip
        self.reynolds, self.nu = int(reynolds), 1 / reynolds
        self.domain = Box(x=(0, 1), y=(0, 1))

    def conditions(self, points: int = 400, **drawing: Any) -> dict[str, Condition]:
        """Each velocity on half of the points, which are shared among the walls."""
        on_u, on_v = shares(self, points, 2)
        pressure = Data(
            self.domain.low[None], torch.zeros(1), domain=self.domain, output=2,
            dtype=drawing.get("dtype") or torch.get_default_dtype(), device=drawing.get("device"),
        )  # fmt: skip
        return {
            "u": Dirichlet(self.domain, self.lid, on_u, output=0, **drawing),
            "v": Dirichlet(self.domain, 0.0, on_v, output=1, **drawing),
            "pressure": pressure,
        }

    @staticmethod
    def lid(y: Tensor) -> Tensor:
        """The velocity u of the walls: 1 on the lid y = 1, else 0."""
        return (y == 1).to(y)

    def test_grid(self) -> tuple[Tensor, Tensor]:
        """Points [1087, 2] and u, v, p there [1087, 3], the pressure NaN, which is not known."""
        with np.load(_FIELDS) as data:
            field = torch.from_numpy(data[f"re_{self.reynolds}"])
        count = len(field)
        points = self.domain.grid(count, count, dtype=torch.float64)
        pressure = torch.full((count, count, 1), math.nan, dtype=torch.float64)
        values = torch.cat([field, pressure], 2).reshape(-1, 3)
        inner = torch.ones(count, count, dtype=torch.bool)
        inner[[0, -1], -1] = False  # the corners under the lid
        return points[inner.view(-1)], values[inner.view(-1)]
