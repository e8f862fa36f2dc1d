"""Problems on a ring, whose reference is a pseudo-spectral solution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyneural.errors import check_argument
from pyneural.nn import MLP, PeriodicEmbedding
from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Initial, Periodic
from pyneural.pde.coordinates import call_with_coordinates
from pyneural.pde.domains import Box
from pyneural.pde.gallery.problem import Problem, input_range, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network
from pyneural.pde.spectral import Fourier
from pyneural.pde.spectral.fourier_series import FourierSeries


class Ring(Problem):
    """An equation u_t = ... that is periodic in x; a subclass writes ``initial``.

    Attributes:
        modes: points of the solver, on which the solution is resolved.
        steps: its steps in time.
        smooth: the highest derivative that is the same at both ends, as the equation needs it.
    """

    reference = "a pseudo-spectral solution"
    inputs, outputs = "tx", "u"
    modes: int
    steps: int
    smooth: ClassVar[int]

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x), [N]."""
        raise NotImplementedError("Ring.initial: write it in the subclass")

    def network(self, hidden: Sequence[int] | None = None) -> torch.nn.Module:
        """A network that is periodic in x."""
        return periodic_network(self, hidden)

    def hard(self, network: Network) -> Hard:
        """The network u = u(0, x) + t N(t, x), where N is periodic, as that of ``network``.

        Raises:
            ArgumentError: a network that is not periodic in x.
        """
        self.check_periodic(network)
        return Hard(network, self.domain.names, self.initial, lambda t: t)

    def window(self, domain: Box, start: Callable[..., Tensor]) -> Hard:
        """The network u = u_0(x) + s N(t, x) of a part of the time, in which s goes from 0 to 1.

        N is new, and periodic in x.

        Args:
            domain: with the times of this part.
            start: the state u_0 at its first time, a function of coordinates. It is kept as a
                Fourier series, lest the network of a part call those of all parts before.
        """
        first, length = float(domain.low[0]), float((domain.high - domain.low)[0])
        low, period = float(domain.low[1]), float((domain.high - domain.low)[1])

        def state(x: Tensor) -> Tensor:
            points = torch.stack([torch.full_like(x, first), x], 1)
            return call_with_coordinates(start, domain.names, points, "Ring.window: start")

        network: Any = periodic_network(self, domain=domain).double()
        series = FourierSeries(state, low, period)
        return Hard(network, domain.names, series, lambda t: (t - first) / length)

    def check_periodic(self, network: Any) -> None:
        """ArgumentError unless a network is periodic in x."""
        check_argument(
            is_periodic(network, self.domain), f"{type(self).__name__}.hard: network",
            "one that is periodic in x", "another", "take that of network(), or embed x by "
            "nn.PeriodicEmbedding",
        )  # fmt: skip

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


def periodic_network(
    problem: Problem,
    hidden: Sequence[int] | None = None,
    domain: Box | None = None,
    period: float | None = None,
) -> torch.nn.Sequential:
    """A network of a problem in t and x, with new weights, that is periodic in x.

    N(s, cos(2 pi x / P), sin(2 pi x / P)), where s goes from -1 to 1 in the times of a domain, the
    problem's where none is given, and P is its length where no period is given; times the scale
    of the recipe.
    """
    domain, recipe = problem.domain if domain is None else domain, problem.recipe
    low, high = domain.range
    period = float(high[1] - low[1]) if period is None else period
    embedding = PeriodicEmbedding(domain.names, {"x": period})
    hidden = recipe.hidden if hidden is None else hidden
    layers = MLP(
        embedding.out_features, hidden, len(problem.outputs), recipe.activation,
        input_range=input_range(
            [float(low[0]), -1.0, -1.0], [float(high[0]), 1.0, 1.0], recipe.input_scale
        ),
    )  # fmt: skip
    return torch.nn.Sequential(embedding, layers)


@torch.no_grad()
def is_periodic(network: Any, domain: Box) -> bool:
    """Whether a network of t and x takes equal values at both ends in x, and others inside.

    One that is constant, as before its training, is where it has a ``PeriodicEmbedding``.
    """
    generator = torch.Generator().manual_seed(0)
    like = next(iter(getattr(network, "parameters", tuple)()), torch.zeros(()))
    x = domain.sample(16, generator=generator, dtype=torch.float64)
    values = []
    for end in (float(domain.low[1]), float(domain.high[1]), None):
        if end is not None:
            x[:, 1] = end
        else:
            x[:, 1] = domain.low[1] + (domain.high - domain.low)[1] * torch.linspace(0.1, 0.6, 16)
        values.append(network(x.to(like)).double())
    low, high, inside = values
    changes = float((inside - low).abs().max())
    if changes == 0:
        parts = network.modules() if isinstance(network, torch.nn.Module) else ()
        return any(isinstance(part, PeriodicEmbedding) for part in parts)
    return float((high - low).abs().max()) <= 1e-3 * changes
