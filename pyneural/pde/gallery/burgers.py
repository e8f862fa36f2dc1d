"""Burgers' equation with the standard set-up of the PINN literature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Dirichlet, Initial
from pyneural.pde.domains import Box
from pyneural.pde.exact import cole_hopf
from pyneural.pde.gallery.periodic import is_periodic, periodic_network
from pyneural.pde.gallery.problem import Problem, Recipe, number, positive, shares
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network


class Burgers(Problem):
    """Viscous Burgers' equation.

        u_t + u u_x - nu u_xx = 0   on t in (0, 1], x in (-1, 1)
        u(0, x) = -sin(pi x),  u(t, -1) = u(t, 1) = 0

    With nu = 0.01 / pi a shock of width about 0.01 forms at x = 0 by t = 1 / pi: the example of
    Raissi, Perdikaris and Karniadakis (2019).

    Args:
        nu: viscosity, > 0; a ``torch.nn.Parameter`` is learned.

    Raises:
        ValueError: nu not positive.

    >>> from pyneural.nn import MLP
    >>> burgers = Burgers()
    >>> network = MLP(2, [20] * 8, 1, input_range=burgers.domain.range)
    >>> points = burgers.domain.sample(100, sampling="lhs")
    >>> bool(burgers.loss(network, points) > 0)
    True
    """

    inputs, outputs = "tx", "u"
    formula = "u_t + u u_x = nu u_xx"
    reference = "Cole-Hopf"
    counts = 100, 256
    recipe = Recipe((20, 20, 20, 20), error=2e-8, steps=150, hard=True)

    def __init__(self, nu: float | Tensor = 0.01 / math.pi) -> None:
        super().__init__()
        self.nu = positive("Burgers: nu", nu, "a viscosity")
        self.domain = Box(t=(0, 1), x=(-1, 1))

    def residual(self, u):
        """The residual u_t + u u_x - nu u_xx."""
        return u.t + u * u.x - self.nu * u.xx

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x) = -sin(pi x)."""
        return -torch.sin(math.pi * x)

    def conditions(self, points: int = 100, **drawing: Any) -> dict[str, Condition]:
        """Soft initial and boundary conditions, half of the points each.

        Args:
            points: number of points of both together, >= 2.
            drawing: ``sampling``, ``generator``, ``dtype``, ``device`` of the points; see ``Box``.

        >>> conditions = Burgers().conditions(100)
        >>> {name: len(condition.points) for name, condition in conditions.items()}
        {'initial': 50, 'boundary': 50}
        """
        initial, boundary = shares(self, points, 2)
        return {
            "initial": Initial(self.domain, self.initial, initial, **drawing),
            "boundary": Dirichlet(self.domain, 0.0, boundary, **drawing),
        }

    def network(self, hidden: Sequence[int] | None = None) -> torch.nn.Module:
        """A network that is periodic in x, as the solution is: it is odd about both ends."""
        return periodic_network(self, hidden)

    def hard(self, network: Network) -> Hard:
        """The network with the conditions built in.

            u = -sin(pi x) + t N(t, x)             where N is periodic in x, as that of ``network``
            u = -sin(pi x) + t (1 - x^2) N(t, x)   else

        The solution is the restriction of the one that is periodic, so that a periodic boundary
        determines it as well as zeros at both ends, which the first form has only once it is
        trained.

        >>> from pyneural.nn import MLP
        >>> u = Burgers().hard(MLP(2, [8], 1))
        >>> u(torch.tensor([[0.0, 0.5], [0.7, 1.0]])).abs().round(decimals=5).tolist()
        [[1.0], [0.0]]
        """
        names = self.domain.names
        if is_periodic(network, self.domain):
            return Hard(network, names, self.initial, lambda t: t)
        return Hard(network, names, self.initial, lambda t, x: t * (1 - x**2))

    def exact(self, t: Tensor | float, x: Tensor | float) -> Tensor:
        """Exact solution by ``cole_hopf`` at this viscosity, float64."""
        return cole_hopf(t, x, number(self.nu))

    def test_grid(self) -> tuple[Tensor, Tensor]:
        """The literature's test set: 100 times 0, 0.01, ..., 0.99 by 256 positions.

        Returns:
            points [25600, 2], the time varying slowest, and exact u [25600, 1], both float64.

        >>> points, u = Burgers().test_grid()
        >>> points.shape, round(float(u.square().mean()), 4)
        (torch.Size([25600, 2]), 0.3774)
        """
        points = Box(t=(0, 0.99), x=(-1, 1)).grid(100, 256, dtype=torch.float64)
        return points, self.exact(points[:, 0], points[:, 1])[:, None]
