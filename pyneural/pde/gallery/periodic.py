"""Problems on a ring, whose reference is a pseudo-spectral solution."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from pyneural.nn import MLP, PeriodicEmbedding
from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Initial, Periodic
from pyneural.pde.gallery.problem import Problem, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network
from pyneural.pde.spectral import Fourier


class Ring(Problem):
    """An equation u_t = ... that is periodic in x; a subclass writes ``initial``.

    Attributes:
        modes: points of the solver, on which the solution is resolved.
        steps: its steps in time.
        smooth: the highest derivative that is the same at both ends, as the equation needs it.
    """

    reference = "a pseudo-spectral solution"
    inputs, outputs = "tx", "u"
    modes: ClassVar[int]
    steps: ClassVar[int]
    smooth: ClassVar[int]

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x), [N]."""
        raise NotImplementedError("Ring.initial: write it in the subclass")

    def network(self) -> torch.nn.Module:
        """A network that is periodic in x."""
        low, high = self.domain.low[1].item(), self.domain.high[1].item()
        embedding = PeriodicEmbedding(self.domain.names, {"x": high - low})
        layers = MLP(embedding.out_features, self.recipe.hidden, 1, self.recipe.activation)
        return torch.nn.Sequential(embedding, layers)

    def hard(self, network: Network) -> Hard:
        """The network u = u(0, x) + t N(t, x), where N is periodic, as that of ``network``."""
        return Hard(network, self.domain.names, self.initial, lambda t: t)

    def conditions(self, points: int = 100, **drawing: Any) -> dict[str, Condition]:
        """The start, and equal values and derivatives at both ends; half of the points each."""
        initial, boundary = shares(self, points, 2)
        return {
            "initial": Initial(self.domain, self.initial, initial, **drawing),
            "boundary": Periodic(self.domain, "x", boundary, order=self.smooth, **drawing),
        }

    @torch.no_grad()
    def test_grid(self) -> tuple[Tensor, Tensor]:
        """Points of a regular grid [N, 2], and u there [N, 1], float64."""
        points = self.domain.grid(*self.counts, dtype=torch.float64)
        times = points[:, 0].unique()
        solver = Fourier(self, self.domain, self.initial)
        return points, solver.solve(self.modes, self.steps, times)(points)
