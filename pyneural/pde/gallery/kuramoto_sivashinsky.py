"""Kuramoto and Sivashinsky's equation, regular and chaotic."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyneural.pde.domains import Box
from pyneural.pde.gallery.periodic import Ring
from pyneural.pde.gallery.problem import Recipe

_CHAOTIC = Path(__file__).with_name("chaotic_flame.npz")


class KuramotoSivashinsky(Ring):
    """Flame fronts: long waves grow, short ones decay, and the nonlinear term joins them.

        u_t + 5 u u_x + u_xx / 2 + 0.005 u_xxxx = 0   on t in (0, 1], x in (-1, 1), periodic
        u(0, x) = -sin(pi x)

    The regular example of Wang, Sankaran and Perdikaris (2024, "Respecting causality for training
    physics-informed neural networks", Comput. Methods Appl. Mech. Eng. 421).

    >>> KuramotoSivashinsky.initial(torch.tensor([0.5])).tolist()
    [-1.0]
    """

    formula = "u_t + 5 u u_x + u_xx / 2 + 0.005 u_xxxx = 0"
    counts = 101, 257
    modes, steps, smooth = 256, 12_000, 3
    recipe = Recipe(
        (20, 20, 20), error=4e-6, steps=150, points=1500, most=4000, hard=True, windows=10
    )

    def __init__(self) -> None:
        super().__init__()
        self.domain = Box(t=(0, 1), x=(-1, 1))

    def residual(self, u):
        """The residual u_t + 5 u u_x + u_xx / 2 + 0.005 u_xxxx."""
        return u.t + 5 * u * u.x + 0.5 * u.xx + 0.005 * u.xxxx

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x) = -sin(pi x)."""
        return -torch.sin(math.pi * x)


class ChaoticKuramotoSivashinsky(Ring):
    """The same equation where small differences grow.

        u_t + 100/16 u u_x + 100/16^2 u_xx + 100/16^4 u_xxxx = 0
        on t in (0, 1], x in (0, 2 pi), periodic,  u(0, x) = cos(x) (1 + sin(x))

    The chaotic example of the same paper. ``build_tools/make_chaotic_flame.py`` made the reference.

    >>> ChaoticKuramotoSivashinsky.initial(torch.tensor([0.0])).tolist()
    [1.0]
    """

    formula = "u_t + 100/16 u u_x + 100/16^2 u_xx + 100/16^4 u_xxxx = 0"
    counts = 26, 257
    smooth = 3
    recipe = Recipe(
        (20, 20, 20), error=2e-3, steps=100, activation="sin", input_scale=8, points=2000,
        most=4000, hard=True, windows=25,
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.domain = Box(t=(0, 1), x=(0, 2 * math.pi))

    def residual(self, u):
        """The residual u_t + 100/16 u u_x + 100/16^2 u_xx + 100/16^4 u_xxxx."""
        return u.t + 100 / 16 * u * u.x + 100 / 16**2 * u.xx + 100 / 16**4 * u.xxxx

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x) = cos(x) (1 + sin(x))."""
        return torch.cos(x) * (1 + torch.sin(x))

    def test_grid(self) -> tuple[Tensor, Tensor]:
        """Points of a regular grid [6682, 2], and u there [6682, 1], float64."""
        points = self.domain.grid(*self.counts, dtype=torch.float64)
        with np.load(_CHAOTIC) as data:
            u = torch.from_numpy(data["u"])
        return points, torch.cat([u, u[:, :1]], 1).reshape(-1, 1)
