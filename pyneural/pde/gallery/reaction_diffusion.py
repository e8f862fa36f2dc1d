"""A front of reaction and diffusion."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet, Initial
from pyneural.pde.domains import Box
from pyneural.pde.gallery.problem import Problem, Recipe, number, positive, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network


class ReactionDiffusion(Problem):
    """Fisher's equation: a population that spreads by diffusion and grows to its limit.

        u_t - u_xx - rho u (1 - u) = 0   on t in (0, 1], x in (-5, 15)

    with initial and boundary values of the front of Ablowitz and Zeppetella (1979),

        u = (1 + exp(sqrt(rho / 6) x - 5 rho t / 6))^-2

    which moves by 5 sqrt(rho / 6) in a unit of time.

    Args:
        rho: rate of growth, > 0; a ``torch.nn.Parameter`` is learned.

    Raises:
        ValueError: rho not positive.

    >>> ReactionDiffusion().exact(torch.tensor([0.0]), torch.tensor([0.0])).tolist()
    [0.25]
    """

    inputs, outputs = "tx", "u"
    formula = "u_t = u_xx + rho u (1 - u)"
    counts = 101, 201
    recipe = Recipe((20, 20, 20), error=6e-10, steps=80, weights={"initial": 100, "boundary": 100})

    def __init__(self, rho: float | Tensor = 6.0) -> None:
        super().__init__()
        self.rho = positive("ReactionDiffusion: rho", rho)
        self.domain = Box(t=(0, 1), x=(-5, 15))

    def residual(self, u):
        """The residual u_t - u_xx - rho u (1 - u)."""
        return u.t - u.xx - self.rho * u * (1 - u)

    def conditions(self, points: int = 100, **drawing: Any) -> dict[str, Condition]:
        """Initial and boundary values, half of the points each."""
        initial, boundary = shares(self, points, 2)
        return {
            "initial": Initial(self.domain, self.exact, initial, **drawing),
            "boundary": Dirichlet(self.domain, self.exact, boundary, **drawing),
        }

    def hard(self, network: Network) -> Hard:
        """The network u = A(t, x) + t s (1 - s) N(t, x), where s goes from 0 to 1 with x.

        A is u(0, x) and, linear in x, the changes of u at both ends.
        """
        low, high = (float(bound[1]) for bound in self.domain.range)

        def lift(t: Tensor, x: Tensor) -> Tensor:
            s, zero = (x - low) / (high - low), torch.zeros_like(t)
            left, right = (
                self.exact(t, end) - self.exact(zero, end)
                for end in (torch.full_like(x, low), torch.full_like(x, high))
            )
            return self.exact(zero, x) + (1 - s) * left + s * right

        def distance(t: Tensor, x: Tensor) -> Tensor:
            s = (x - low) / (high - low)
            return t * s * (1 - s)

        return Hard(network, self.domain.names, lift, distance)

    def exact(self, t: Tensor, x: Tensor) -> Tensor:
        """Exact solution, [N]."""
        rho = number(self.rho)
        return torch.sigmoid(5 * rho * t / 6 - math.sqrt(rho / 6) * x) ** 2
