"""Kuramoto and Sivashinsky's equation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyneural.pde.domains import Box
from pyneural.pde.gallery.periodic import Ring
from pyneural.pde.gallery.problem import Recipe


class KuramotoSivashinsky(Ring):
    """Flame fronts: long waves grow, short ones decay, and the nonlinear term joins them.

        u_t + 5 u u_x + u_xx / 2 + 0.005 u_xxxx = 0   on t in (0, 0.4], x in (-1, 1), periodic
        u(0, x) = -sin(pi x)

    The regular, not the chaotic example of Wang, Sankaran and Perdikaris (2024, "Respecting
    causality for training physics-informed neural networks", Comput. Methods Appl. Mech. Eng. 421),
    who go on to t = 1; here up to the time at which its fronts are steep.

    >>> KuramotoSivashinsky.initial(torch.tensor([0.5])).tolist()
    [-1.0]
    """

    formula = "u_t + 5 u u_x + u_xx / 2 + 0.005 u_xxxx = 0"
    counts = 101, 257
    modes, steps, smooth = 128, 400, 3
    recipe = Recipe((32, 32, 32), error=7e-1, hard=True, points=1500, lbfgs=(1500,))

    def __init__(self) -> None:
        super().__init__()
        self.domain = Box(t=(0, 0.4), x=(-1, 1))

    def residual(self, u):
        """The residual u_t + 5 u u_x + u_xx / 2 + 0.005 u_xxxx."""
        return u.t + 5 * u * u.x + 0.5 * u.xx + 0.005 * u.xxxx

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x) = -sin(pi x)."""
        return -torch.sin(math.pi * x)
