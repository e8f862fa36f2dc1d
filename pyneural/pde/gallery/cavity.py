"""Flow in a cavity whose lid moves."""

from __future__ import annotations

import math
from dataclasses import replace
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
from pyneural.pde.gallery.problem import Recipe, positive, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network

_FIELDS = Path(__file__).with_name("cavity.npz")
_ERRORS: dict[float, float] = {100: 1e-4, 400: 4e-4, 1000: 2e-3, 3200: 7e-3}
_SLOW, _STEPS = 100, 20  # the lowest Reynolds number to begin with; steps at those before
_FAST = 2000  # from here on layers of 20 do not find the flow: an error of 1
_AT_WALLS, _OF_MASS = 0.05, 0.3  # weights of momentum at the walls and of mass everywhere
_B = 1 / (1 - math.pi**2 / 4)
_C = _B * math.pi / 2
_TINY = 1e-30


def _step(x: Tensor) -> Tensor:
    """From 0 at 0 to 1 at 1, smooth at both."""
    return x**3 * (10 - 15 * x + 6 * x**2)


class Cavity(SteadyFlow):
    """Steady flow in a square cavity whose lid moves to the right, by ``SteadyFlow``, nu = 1 / Re.

        u = 1, v = 0 on the lid y = 1,  u = v = 0 on the other walls of (0, 1)^2,  p(0, 0) = 0

    The reference is a spectral solution of ``build_tools/make_cavity.py``, in which the velocity
    jumps at the corners under the lid, on a grid of 33 x 33 points without these corners. Series of
    degrees 40 and 50 differ by 3e-5, 1.3e-4, 6e-4 and 2.7e-3 of its norm at Re = 100, 400, 1000 and
    3200, most of it at these corners. In the centre, at Re = 100, the table of Ghia, Ghia and Shin
    (1982) is 3e-3 of the lid's speed from it.

    Args:
        reynolds: Re, > 0; there is a reference for 100, 400, 1000 and 3200.

    Raises:
        ValueError: a Reynolds number that is not positive.

    >>> points, values = Cavity().test_grid()
    >>> points.shape, values[0, 0].item()
    (torch.Size([1087, 2]), 0.0)
    """

    reference = "a spectral solution"
    counts = 101, 101  # where it is drawn
    recipe = Recipe((20, 20, 20, 20), error=1e-4, steps=80, hard=True)

    def __init__(self, reynolds: float = 100) -> None:
        super().__init__()
        self.reynolds = positive("Cavity: reynolds", reynolds)
        self.nu = 1 / reynolds
        self.recipe = replace(self.recipe, error=_ERRORS.get(float(reynolds), 1.0))
        if reynolds >= _FAST:
            self.recipe = replace(self.recipe, hidden=(28, 28, 28, 28), steps=100, most=6000)
        self.domain = Box(x=(0, 1), y=(0, 1))

    def easier(self) -> list[Cavity]:
        """Flows of half the Reynolds number, a quarter of it and so on, the slowest one first."""
        slower, reynolds = list[Cavity](), float(self.reynolds) / 2
        while reynolds >= _SLOW:
            slower.insert(0, Cavity(reynolds))
            slower[0].recipe = replace(self.recipe, steps=_STEPS)
            reynolds /= 2
        return slower

    def residual(self, u, v, p, x, y):  # type: ignore[override]  # its arguments are what it reads
        """Momentum in x and y, times w, and mass, times 0.3.

            w = (16 x (1 - x) y (1 - y) + 0.05) n(x) n(1 - x),
            n(x) = r / sqrt(r^2 + 0.1^2),  r = sqrt(x^2 + (1 - y)^2)

        as momentum grows as 1/r towards the corners under the lid. A residual near a wall is a
        force that viscosity stops nearby; in the core, where viscosity is weak, a force of the same
        size changes the whole circulation. Hence the first factor.
        """
        in_x, in_y, mass = super().residual(u, v, p)
        weight = self._nearness(x, y) * self._nearness(1 - x, y) * (self._walls(x, y) + _AT_WALLS)
        return weight * in_x, weight * in_y, _OF_MASS * mass

    @staticmethod
    def _nearness(x, y):
        """For the distance r from (0, 1): r / sqrt(r^2 + 0.1^2)."""
        squared = x**2 + (1 - y) ** 2
        return torch.sqrt(squared / (squared + 0.01))

    def hard(self, network: Network) -> Hard:
        r"""The flow A + B N, where A has the jump of the velocity in the corners under the lid.

        Near such a corner a flow is that of Stokes (Taylor 1962): for the polar coordinates r and
        theta of (x, 1 - y) about the left one

            u = a + b cos^2 theta + c (theta + sin theta cos theta)
            v = -b (sin theta cos theta - theta) - c sin^2 theta
            p = 2 nu (b cos theta + c sin theta) / r
            b = 1 / (1 - pi^2 / 4),  a = 1 - b,  c = b pi / 2

        and A is that, and the mirrored one of the right corner, faded out towards the other corner
        and the bottom. B is zero on the walls, for the pressure at (0, 0).
        """
        return Hard(network, self.domain.names, self._lift, self._distance)

    def _lift(self, x: Tensor, y: Tensor) -> Tensor:
        u_left, v_left, p_left = self._corner(x, 1 - y)
        u_right, v_right, p_right = self._corner(1 - x, 1 - y)
        left, down = _step(1 - x), _step(y)
        right = 1 - left
        return torch.stack(
            [
                down * (left * u_left + right * u_right),
                down * (left * v_left - right * v_right),
                down * (left * p_left - right * p_right),
            ],
            1,
        )

    def _corner(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        squared = (x**2 + y**2).clamp_min(_TINY)
        theta = torch.atan2(y, x.clamp_min(_TINY))
        cos, sin = x / squared.sqrt(), y / squared.sqrt()
        u = 1 - _B + _B * cos**2 + _C * (theta + sin * cos)
        v = _B * (theta - sin * cos) - _C * sin**2
        return u, v, 2 * self.nu * (_B * x + _C * y) / squared

    @staticmethod
    def _walls(x, y):
        """0 on the walls, 1 in the middle."""
        return 16 * x * (1 - x) * y * (1 - y)

    @classmethod
    def _distance(cls, x: Tensor, y: Tensor) -> Tensor:
        walls = cls._walls(x, y)
        return torch.stack([walls, walls, x + y - x * y], 1)

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
        known = ", ".join(map(str, _ERRORS))
        check_argument(
            self.reynolds in _ERRORS, "Cavity.test_grid", f"a reynolds of {known}", self.reynolds,
            "there is no reference for others",
        )  # fmt: skip
        with np.load(_FIELDS) as data:
            field = torch.from_numpy(data[f"re_{self.reynolds:.0f}"])
        count = len(field)
        points = self.domain.grid(count, count, dtype=torch.float64)
        pressure = torch.full((count, count, 1), math.nan, dtype=torch.float64)
        values = torch.cat([field, pressure], 2).reshape(-1, 3)
        inner = torch.ones(count, count, dtype=torch.bool)
        inner[[0, -1], -1] = False  # the corners under the lid
        return points[inner.view(-1)], values[inner.view(-1)]
