"""Problems of ordinary differential equations, whose reference is integrated to 1e-12."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyneural.nn import Scaled
from pyneural.ode import odeint
from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Initial
from pyneural.pde.gallery.problem import Problem
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network

TOLERANCE = 1e-12  # relative, and in units of the order of the solution


class Motion(Problem):
    """A system dy/dt = f(y) from a given state; a subclass writes ``rates``.

    Attributes:
        start: the state at t = 0, one number for each output.
        size: order of magnitude of the state, by which the network's outputs are multiplied.
    """

    reference = "an integration to 1e-12"
    inputs = "t"
    counts = (201,)
    start: ClassVar[Sequence[float]]
    size: ClassVar[float] = 1.0

    def rates(self, *state: Any) -> Sequence[Any]:
        """The rates of change f(y), one for each output, of tensors or of fields."""
        raise NotImplementedError(f"{type(self).__name__}.rates: write it in the subclass")

    def network(self, hidden: Sequence[int] | None = None) -> torch.nn.Module:
        """As of any problem, its outputs times ``size``."""
        return Scaled(super().network(hidden), scale=self.size)

    def initial(self, t: Tensor) -> Tensor:
        """The state at t = 0, for each time, [N, O]."""
        return t.new_tensor(list(self.start)).expand(len(t), -1)

    def conditions(self, points: int = 1, **drawing: Any) -> dict[str, Condition]:
        """The initial state; all points are the same one."""
        return {"initial": Initial(self.domain, self.initial, points, **drawing)}

    def hard(self, network: Network) -> Hard:
        """The network y = y(0) + t N(t)."""
        return Hard(network, self.domain.names, self.initial, lambda t: t)

    @torch.no_grad()
    def test_grid(self) -> tuple[Tensor, Tensor]:
        """Times [N, 1] and the states there [N, O], float64."""
        times = self.domain.grid(*self.counts, dtype=torch.float64)
        y = odeint(
            lambda t, y: torch.stack([torch.as_tensor(rate) for rate in self.rates(*y)]),
            times.new_tensor(list(self.start)),
            times[:, 0],
            rtol=TOLERANCE,
            atol=TOLERANCE,
        )
        return times, y
