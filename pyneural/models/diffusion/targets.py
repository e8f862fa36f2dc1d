"""What a denoiser predicts: the noise, the sample, or a mixture of both."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Target:
    """A linear function of sample and noise, the target = of_sample x_0 + of_noise eps.

    Together with x_t = alpha x_0 + sigma eps it tells both; alpha and sigma are those of the time.

    Args:
        name: "epsilon", "v" or "x0".
    """

    name: str

    def of(self, x0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The target."""
        if self.name == "epsilon":
            return eps
        return x0 if self.name == "x0" else alpha * eps - sigma * x0

    def sample_and_noise(self, alpha: float, sigma: float) -> tuple[tuple[float, float], ...]:
        """(u, w) and (p, q) of x_0 = u x_t + w f and eps = p x_t + q f, where f is the target."""
        if self.name == "epsilon":
            return (1 / alpha, -sigma / alpha), (0.0, 1.0)
        if self.name == "x0":
            return (0.0, 1.0), (1 / sigma, -alpha / sigma)
        return (alpha, -sigma), (sigma, alpha)


# v: Salimans and Ho 2022, arXiv:2202.00512.
TARGETS = {name: Target(name) for name in ("epsilon", "v", "x0")}
