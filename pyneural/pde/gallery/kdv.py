"""Korteweg and de Vries' equation on a ring: a wave that breaks up into solitons."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from pyneural.pde.domains import Box
from pyneural.pde.gallery.periodic import Ring
from pyneural.pde.gallery.problem import Recipe, number, positive


class KdV(Ring):
    """A wave steepens until dispersion breaks it up into solitons.

        u_t + u u_x + delta u_xxx = 0   on t in (0, 1], x in (-1, 1), periodic
        u(0, x) = cos(pi x)

    With delta = 0.022^2 the example of Zabusky and Kruskal (1965), who found the solitons with it,
    and with delta = 0.0025 that of Raissi, Perdikaris and Karniadakis (2019), part II.

    Args:
        delta: of the dispersion, > 0; a ``torch.nn.Parameter`` is learned.

    Raises:
        ValueError: delta not positive.

    >>> KdV.initial(torch.tensor([0.0, 1.0])).tolist()
    [1.0, -1.0]
    """

    formula = "u_t + u u_x + delta u_xxx = 0"
    counts = 101, 257
    modes, steps, smooth = 512, 8000, 2
    recipe = Recipe((24, 24, 24), error=4e-8, steps=150, hard=True, windows=8)

    def __init__(self, delta: float | Tensor = 0.022**2) -> None:
        super().__init__()
        self.delta = positive("KdV: delta", delta)
        self.domain = Box(t=(0, 1), x=(-1, 1))
        if number(delta) > 1e-3:  # fewer, wider solitons
            self.modes, self.steps = 256, 4000
            self.recipe = replace(self.recipe, hidden=(20, 20, 20), error=7e-9)

    def residual(self, u):
        """The residual u_t + u u_x + delta u_xxx."""
        return u.t + u * u.x + self.delta * u.xxx

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x) = cos(pi x)."""
        return torch.cos(math.pi * x)
