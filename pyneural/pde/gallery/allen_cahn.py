"""Allen and Cahn's equation: phases that separate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyneural.pde.domains import Box
from pyneural.pde.gallery.periodic import Ring
from pyneural.pde.gallery.problem import Recipe
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network

_DIFFUSIVITY = 1e-4
_TINY = 1e-30  # keeps the root of t from zero


class AllenCahn(Ring):
    """Two phases u = -1 and u = 1 separate, with sharp fronts.

        u_t - 0.0001 u_xx - 5 (u - u^3) = 0   on t in (0, 1], x in (-1, 1), periodic
        u(0, x) = x^2 cos(pi x)

    The example of Raissi, Perdikaris and Karniadakis (2019). The slope of the start jumps from -2
    to 2 at the ends of the domain; for t > 0 diffusion has smoothed that.

    >>> AllenCahn.initial(torch.tensor([0.0, 1.0])).tolist()
    [0.0, -1.0]
    """

    formula = "u_t = 0.0001 u_xx + 5 (u - u^3)"
    counts = 101, 257
    modes, steps, smooth = 4096, 2000, 1
    recipe = Recipe((24, 24, 24, 24), error=8e-8, steps=450, hard=True)

    def __init__(self) -> None:
        super().__init__()
        self.domain = Box(t=(0, 1), x=(-1, 1))

    def residual(self, u):
        """The residual u_t - 0.0001 u_xx - 5 (u - u^3)."""
        return u.t - _DIFFUSIVITY * u.xx - 5 * (u - u**3)

    @staticmethod
    def initial(x: Tensor) -> Tensor:
        """The start u(0, x) = x^2 cos(pi x)."""
        return x**2 * torch.cos(math.pi * x)

    def hard(self, network: Network) -> Hard:
        r"""The network u = A(t, x) + t N(t, x), where N is periodic, as that of ``network``.

            A = u(0, x) + 2 w(1 - x) + 2 w(1 + x)
            w(y) = 2 sqrt(D t / pi) exp(-y^2 / (4 D t)) - y erfc(y / sqrt(4 D t))

        By 2 w diffusion rounds the jump of the slope at both ends, so that A and its slope are
        periodic for t > 0.

        Raises:
            ArgumentError: a network that is not periodic in x.
        """
        self.check_periodic(network)
        return Hard(network, self.domain.names, self._lift, lambda t: t)

    def _lift(self, t: Tensor, x: Tensor) -> Tensor:
        width = torch.sqrt(4 * _DIFFUSIVITY * t + _TINY)

        def rounding(y: Tensor) -> Tensor:
            z = y / width
            return width * (torch.exp(-(z**2)) / math.sqrt(math.pi) - z * torch.erfc(z))

        return self.initial(x) + 2 * (rounding(1 - x) + rounding(1 + x))
