"""Lorenz' equations."""

from __future__ import annotations

from torch import Tensor

from pyneural.pde.domains import Box
from pyneural.pde.gallery.motion import Motion
from pyneural.pde.gallery.problem import Recipe, finite, positive


class Lorenz(Motion):
    """Convection in three numbers (Lorenz, 1963).

        x_t = sigma (y - x),  y_t = x (rho - z) - y,  z_t = x y - beta z   on t in (0, last]
        x(0) = -8,  y(0) = 7,  z(0) = 27

    Args:
        sigma: Prandtl number, > 0.
        rho: Rayleigh number in parts of the critical one; from about 24.7 on the motion is chaotic.
        beta: of the shape of the cells, > 0. Each may be a ``torch.nn.Parameter``, which is
            learned.
        last: the last time, > 0.

    Raises:
        ValueError: a constant that is not finite, or not positive where it must be.

    >>> Lorenz().rates(1.0, 1.0, 1.0)
    (0.0, 13.0, -1.6666666666666665)
    """

    outputs = "xyz"
    formula = "x_t = s (y - x), y_t = x (r - z) - y, z_t = x y - b z"
    start, size = (-8.0, 7.0, 27.0), 20.0
    recipe = Recipe((20, 20, 20), error=2e-9, steps=150, activation="sin", hard=True, points=400)

    def __init__(
        self,
        sigma: float | Tensor = 10.0,
        rho: float | Tensor = 15.0,
        beta: float | Tensor = 8 / 3,
        last: float = 1.0,
    ) -> None:
        super().__init__()
        self.sigma = positive("Lorenz: sigma", sigma, "a Prandtl number")
        self.rho = finite("Lorenz: rho", rho)
        self.beta = positive("Lorenz: beta", beta)
        self.domain = Box(t=(0, last))

    def rates(self, x, y, z):
        """The rates sigma (y - x), x (rho - z) - y, x y - beta z."""
        return self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z

    def residual(self, x, y, z):
        """Rates of change minus those of the equations."""
        x_t, y_t, z_t = self.rates(x, y, z)
        return x.t - x_t, y.t - y_t, z.t - z_t
