"""The flow behind a cylinder, with unknown constants: an inverse problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyneural.errors import check_argument
from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Data
from pyneural.pde.domains import Box
from pyneural.pde.gallery.flow import Flow
from pyneural.pde.gallery.problem import Recipe, shares

_DATA = Path(__file__).with_name("cylinder_wake.npz")


class Cylinder(Flow):
    """Vortices behind a cylinder at Re = 100, of which 2,000 velocities are known.

        u_t + lambda_1 (u u_x + v u_y) + p_x - lambda_2 (u_xx + u_yy) = 0
        v_t + lambda_1 (u v_x + v v_y) + p_y - lambda_2 (v_xx + v_yy) = 0
        u_x + v_y = 0   on t in [0, 6], x in [1, 8], y in [-2, 2]

    The cylinder has the diameter 1 and its centre at 0, and the stream far away has the speed 1.
    Right are lambda_1 = 1, lambda_2 = 0.01; both are learned, and with them the pressure, of which
    nothing is known: p(t, 1, -2) = 0 says only from where it is counted. This is the example of
    Raissi, Perdikaris and Karniadakis (2019), part II. The data come from
    ``build_tools/make_cylinder_wake.py``; the reference is the field at t = 3.

    >>> {name: start.item() for name, start in Cylinder().named_parameters()}
    {'lambda_1': 0.0, 'lambda_2': 0.0}
    """

    formula = "u_t + a (u . grad) u + grad p = b laplacian u, div u = 0"
    reference = "a pseudo-spectral solution"
    truth = {"lambda_1": 1.0, "lambda_2": 0.01}  # noqa: RUF012
    counts = 3, 57, 33
    section = {"t": 3.0}  # noqa: RUF012
    recipe = Recipe(
        (20, 20, 20, 20), error=2e-2, steps=80, condition_points=2000, weights={"u": 100, "v": 100}
    )

    def __init__(self) -> None:
        super().__init__()
        self.lambda_1 = torch.nn.Parameter(torch.zeros(()))
        self.lambda_2 = torch.nn.Parameter(torch.zeros(()))
        self.domain = Box(t=(0, 6), x=(1, 8), y=(-2, 2))

    def residual(self, u, v, p):
        """Momentum in x, momentum in y, mass."""
        return (
            u.t + self.lambda_1 * (u * u.x + v * u.y) + p.x - self.lambda_2 * u.laplacian,
            v.t + self.lambda_1 * (u * v.x + v * v.y) + p.y - self.lambda_2 * v.laplacian,
            u.x + v.y,
        )

    def conditions(self, points: int = 2000, **drawing: Any) -> dict[str, Condition]:
        """The first ``points`` measured velocities; and where the pressure is zero.

        Raises:
            ArgumentError: no points, or more than were measured.
        """
        measured = torch.from_numpy(_load()["measured"])
        (count,) = shares(self, points, 1)
        check_argument(
            count <= len(measured),
            "Cylinder.conditions: points",
            f"at most {len(measured):,}",
            count,
        )
        kind: dict[str, Any] = {
            "dtype": drawing.get("dtype") or torch.get_default_dtype(),
            "device": drawing.get("device"),
        }
        where, u, v = measured[:count, :3], measured[:count, 3], measured[:count, 4]
        corner = where.clone()
        corner[:, 1:] = corner.new_tensor([1.0, -2.0])
        return {
            "u": Data(where, u, domain=self.domain, output=0, **kind),
            "v": Data(where, v, domain=self.domain, output=1, **kind),
            "pressure": Data(corner, torch.zeros(count), domain=self.domain, output=2, **kind),
        }

    def fields(self) -> tuple[Tensor, Tensor]:
        """Three fields: points [3 * 57 * 33, 3] at t = 2.9, 3.0 and 3.1, and u, v, p there."""
        data = {name: torch.from_numpy(values) for name, values in _load().items()}
        points = torch.cartesian_prod(data["times"], data["x"], data["y"])
        return points, data["fields"].double().flatten(0, 1)

    def test_grid(self) -> tuple[Tensor, Tensor]:
        """Points [1881, 3] at t = 3, and u, v, p there [1881, 3], float64."""
        points, values = self.fields()
        middle = slice(len(points) // 3, 2 * len(points) // 3)
        return points[middle], values[middle]

    def section_grid(self) -> tuple[Tensor, Tensor]:
        """As ``test_grid``."""
        return self.test_grid()


def _load() -> dict[str, np.ndarray]:
    with np.load(_DATA) as data:
        return dict(data)
