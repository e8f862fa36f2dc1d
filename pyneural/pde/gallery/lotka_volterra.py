"""Lotka and Volterra's equations."""

from __future__ import annotations

from torch import Tensor

from pyneural.pde.domains import Box
from pyneural.pde.gallery.motion import Motion
from pyneural.pde.gallery.problem import Recipe, positive


class LotkaVolterra(Motion):
    """Prey u and predators v (Lotka, 1925; Volterra, 1926), over about one and a half cycles.

        u_t = alpha u - beta u v,  v_t = delta u v - gamma v   on t in (0, 10]
        u(0) = 2,  v(0) = 1

    Args:
        alpha: growth rate of the prey.
        beta: rate of being caught.
        gamma: death rate of the predators.
        delta: their growth rate. Each is > 0 and may be a ``torch.nn.Parameter``, which is learned.

    Raises:
        ValueError: a rate that is not positive.

    >>> LotkaVolterra().rates(1.0, 1.0)
    (0.0, 0.0)
    """

    outputs = "uv"
    formula = "u_t = alpha u - beta u v,  v_t = delta u v - gamma v"
    start = 2.0, 1.0
    recipe = Recipe(
        (20, 20, 20), error=8e-10, steps=150, activation="sin", input_scale=3, hard=True, points=400
    )

    def __init__(
        self,
        alpha: float | Tensor = 1.0,
        beta: float | Tensor = 1.0,
        gamma: float | Tensor = 1.0,
        delta: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        self.alpha = positive("LotkaVolterra: alpha", alpha, "a rate")
        self.beta = positive("LotkaVolterra: beta", beta, "a rate")
        self.gamma = positive("LotkaVolterra: gamma", gamma, "a rate")
        self.delta = positive("LotkaVolterra: delta", delta, "a rate")
        self.domain = Box(t=(0, 10))

    def rates(self, u, v):
        """The rates alpha u - beta u v, delta u v - gamma v."""
        caught = u * v
        return self.alpha * u - self.beta * caught, self.delta * caught - self.gamma * v

    def residual(self, u, v):
        """Rates of change minus those of the equations."""
        u_t, v_t = self.rates(u, v)
        return u.t - u_t, v.t - v_t
