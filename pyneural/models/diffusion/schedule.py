"""How much of a sample is noise at each time of a diffusion."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyneural.errors import is_whole
from pyneural.training.checks import check


class NoiseSchedule:
    """The closed form of a diffusion of T steps, in which a sample turns into noise.

        x_t = alpha_t x_0 + sigma_t eps,  alpha_t^2 + sigma_t^2 = 1,  eps ~ N(0, 1),  t = 0, ..., T
        alpha_t^2 = (1 - beta_1) ... (1 - beta_t)

    Args:
        alpha_squared: alpha_1^2, ..., alpha_T^2, falling from below 1 to above 0.

    Attributes:
        alpha: [T + 1] in float64, alpha_0 = 1.
        sigma: [T + 1] in float64, sigma_0 = 0.

    Raises:
        ValueError: values that do not fall, or not within (0, 1).

    Source: Ho, Jain and Abbeel 2020, arXiv:2006.11239, eq. 4.

    >>> schedule = NoiseSchedule.linear(1000)
    >>> schedule.alpha[[0, 500, 1000]].tolist()
    [1.0, 0.2803..., 0.0063...]
    """

    def __init__(self, alpha_squared: Tensor) -> None:
        alpha_squared = torch.as_tensor(alpha_squared, dtype=torch.float64).cpu()
        good = alpha_squared.dim() == 1 and len(alpha_squared) > 0
        check(good, "NoiseSchedule: alpha_squared", "[T]", list(alpha_squared.shape))
        alpha_squared = torch.cat([torch.ones(1, dtype=torch.float64), alpha_squared])
        good = bool((alpha_squared.diff() < 0).all()) and bool(alpha_squared[-1] > 0)
        remedy = "alpha_T^2 is a little above 0, at most 1e-3, say"
        check(good, "NoiseSchedule: alpha_squared", "values that fall from 1 to above 0",
              "others", remedy)  # fmt: skip
        self.alpha, self.sigma = alpha_squared.sqrt(), (1 - alpha_squared).sqrt()

    @classmethod
    def linear(
        cls, steps: int = 1000, first: float | None = None, last: float | None = None
    ) -> NoiseSchedule:
        """The variances beta_t rise linearly, as Ho, Jain and Abbeel had it.

        Args:
            steps: T.
            first: beta_1; None for 0.1 / T, the paper's 1e-4 where T is 1,000.
            last: beta_T; None for 20 / T, the paper's 0.02, so that alpha_T hardly depends on T.
        """
        _check_steps("linear", steps)
        first = 0.1 / steps if first is None else first
        last = min(20 / steps, 0.999) if last is None else last
        good = 0 < first <= last < 1
        check(good, "NoiseSchedule.linear: first, last", "0 < first <= last < 1", (first, last))
        beta = torch.linspace(first, last, steps, dtype=torch.float64)
        return cls((1 - beta).cumprod(0))

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008) -> NoiseSchedule:
        """alpha_t is a quarter of a cosine, which is gentle at both ends.

            alpha_t^2 = f(t) / f(0),  f(t) = cos^2((t / T + s) / (1 + s) pi / 2)

        of which no step has a variance beta_t above 0.999 (Nichol and Dhariwal 2021,
        arXiv:2102.09672, eq. 17). Its last steps multiply errors of a predicted noise by 1 /
        alpha_t: take it with the target "v".

        Args:
            steps: T.
            offset: s.
        """
        _check_steps("cosine", steps)
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        f = torch.cos((t + offset) / (1 + offset) * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
        return cls((1 - beta).cumprod(0))

    @property
    def steps(self) -> int:
        """T."""
        return len(self.alpha) - 1

    def times(self, count: int | None = None) -> list[int]:
        """Times from T down to 1, evenly spaced: as many as are to be visited, None for all.

        >>> NoiseSchedule.cosine(1000).times(4)
        [1000, 750, 500, 250]
        """
        count = self.steps if count is None else count
        good = is_whole(count) and 1 <= count <= self.steps
        check(good, "NoiseSchedule.times: count", f"from 1 to {self.steps} steps", count)
        return [self.steps * (count - i) // count for i in range(count)]

    def log_noise_to_signal(self) -> Tensor:
        """log(sigma_t / alpha_t) of t = 1, ..., T, [T] in float64, rising."""
        return (self.sigma[1:] / self.alpha[1:]).log()

    def __repr__(self) -> str:
        return f"NoiseSchedule(steps={self.steps}, alpha_T={float(self.alpha[-1]):.2g})"


def _check_steps(name: str, steps: int) -> None:
    good = is_whole(steps) and steps >= 1
    check(good, f"NoiseSchedule.{name}: steps", "a whole number >= 1", steps, "write 1000")
