"""Flow in a cavity whose lid moves."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Data, Dirichlet
from pyneural.pde.domains import Box
from pyneural.pde.gallery.flow import SteadyFlow
from pyneural.pde.gallery.problem import Recipe, shares

# Ghia, Ghia and Shin (1982), tables I and II, Re = 100.
_Y_OF_U = (
    0.0, 0.0547, 0.0625, 0.0703, 0.1016, 0.1719, 0.2813, 0.4531, 0.5, 0.6172, 0.7344, 0.8516,
    0.9531, 0.9609, 0.9688, 0.9766, 1.0,
)  # fmt: skip
_U = (
    0.0, -0.03717, -0.04192, -0.04775, -0.06434, -0.10150, -0.15662, -0.21090, -0.20581, -0.13641,
    0.00332, 0.23151, 0.68717, 0.73722, 0.78871, 0.84123, 1.0,
)  # fmt: skip
_X_OF_V = (
    0.0, 0.0625, 0.0703, 0.0781, 0.0938, 0.1563, 0.2266, 0.2344, 0.5, 0.8047, 0.8594, 0.9063,
    0.9453, 0.9531, 0.9609, 0.9688, 1.0,
)  # fmt: skip
_V = (
    0.0, 0.09233, 0.10091, 0.10890, 0.12317, 0.16077, 0.17507, 0.17527, 0.05454, -0.24533,
    -0.22445, -0.16914, -0.10313, -0.08864, -0.07391, -0.05906, 0.0,
)  # fmt: skip


class Cavity(SteadyFlow):
    """Steady flow in a square cavity whose lid moves to the right, by ``SteadyFlow`` at Re = 100.

        u = 1, v = 0 on the lid y = 1,  u = v = 0 on the other walls of (0, 1)^2,  p(0, 0) = 0

    The reference is the table of Ghia, Ghia and Shin (1982): u on the vertical line through the
    centre and v on the horizontal one, to about 0.002.

    >>> points, values = Cavity().test_grid()
    >>> points.shape, values[0, 0].item(), values[17, 1].item()
    (torch.Size([34, 2]), 0.0, 0.0)
    """

    reference = "the table of Ghia, Ghia and Shin"
    counts = 101, 101  # where it is drawn
    recipe = Recipe((20, 20, 20, 20), error=1.0, steps=100, weights={"u": 100, "v": 100})
    nu = 0.01

    def __init__(self) -> None:
        super().__init__()
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
        """Points [34, 2] and u, v, p there [34, 3], NaN where the table does not have them."""
        points = torch.full((len(_U) + len(_V), 2), 0.5, dtype=torch.float64)
        values = torch.full((len(points), 3), math.nan, dtype=torch.float64)
        up, along = slice(0, len(_U)), slice(len(_U), None)
        points[up, 1], values[up, 0] = points.new_tensor(_Y_OF_U), points.new_tensor(_U)
        points[along, 0], values[along, 1] = points.new_tensor(_X_OF_V), points.new_tensor(_V)
        return points, values
