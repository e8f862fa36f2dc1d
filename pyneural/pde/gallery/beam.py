"""Euler's beam, which swings."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet, Initial
from pyneural.pde.domains import Box
from pyneural.pde.gallery.problem import Problem, Recipe, shares
from pyneural.pde.operator import Operator


class EulerBeam(Problem):
    """A beam that is supported at both ends, released at rest.

        u_tt + u_xxxx / pi^4 = 0   on t in (0, 3], x in (0, 1)
        u(0, x) = sin(pi x),  u_t(0, x) = 0
        u = 0, u_xx = 0 (no moment) at both ends

    u = cos(t) sin(pi x): the equation of Euler and Bernoulli, in units of time in which the beam
    swings with the angular frequency 1.

    >>> EulerBeam().exact(torch.tensor([0.0]), torch.tensor([0.5])).tolist()
    [1.0]
    """

    inputs, outputs = "tx", "u"
    formula = "u_tt + u_xxxx / pi^4 = 0"
    counts = 101, 101
    recipe = Recipe(
        (20, 20, 20, 20), error=9e-9, steps=80, weights={"initial": 100, "boundary": 100}
    )

    def __init__(self) -> None:
        super().__init__()
        self.domain = Box(t=(0, 3), x=(0, 1))

    def residual(self, u):
        """The residual u_tt + u_xxxx / pi^4."""
        return u.tt + u.xxxx / math.pi**4

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x) = sin(pi x)."""
        return torch.sin(math.pi * x)

    def conditions(self, points: int = 200, **drawing: Any) -> dict[str, Condition]:
        """Start, velocity at the start, values and moments at the ends; a quarter each."""
        counts, domain = shares(self, points, 4), self.domain
        return {
            "initial": Initial(domain, self.initial, counts[0], **drawing),
            "velocity": Initial(domain, 0.0, counts[1], order=1, **drawing),
            "boundary": Dirichlet(domain, 0.0, counts[2], **drawing),
            "moment": Operator(lambda u: u.xx, counts[3], domain=domain, **drawing),
        }

    def exact(self, t: Tensor, x: Tensor) -> Tensor:
        """Exact solution, [N]."""
        return torch.cos(t) * torch.sin(math.pi * x)
