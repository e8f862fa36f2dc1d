"""A periodic function as a short Fourier series, which costs little and has derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_ROUNDING = 1e-15  # of the largest coefficient, below which there is nothing but rounding


class FourierSeries:
    """The trigonometric interpolation of a function with period P.

        f(x) = sum_k a_k cos(2 pi k (x - low) / P) + b_k sin(2 pi k (x - low) / P),  k = 0, ..., K

    It is exact to rounding where f has no higher harmonics than K; of the sampled harmonics the
    highest third, which aliases, is left out.

    Args:
        function: of x [N], gives [N] or [N, 1]; called once, in float64.
        low: where the period begins.
        period: P, > 0.
        points: samples.

    >>> series = FourierSeries(lambda x: torch.sin(x) ** 3, 0.0, 2 * math.pi)
    >>> series.harmonics.tolist(), round(float(series(torch.tensor([math.pi / 6]))), 12)
    ([1.0, 3.0], 0.125)
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], low: float, period: float, points: int = 512
    ) -> None:
        x = low + period * torch.arange(points, dtype=torch.float64) / points
        with torch.no_grad():
            modes = torch.fft.rfft(function(x).reshape(points)) / points
        modes = modes[: points // 3]
        modes[1:] *= 2
        kept = modes.abs() > _ROUNDING * modes.abs().max()
        self.harmonics = kept.nonzero()[:, 0].double()  # those of k that matter
        self.cosines, self.sines = modes.real[kept], -modes.imag[kept]
        self.low, self.period = low, period

    def __call__(self, x: Tensor) -> Tensor:
        """The sum at x [N], [N]."""
        k = (2 * math.pi / self.period * self.harmonics).to(x)
        phases = (x - self.low)[:, None] * k
        return torch.cos(phases) @ self.cosines.to(x) + torch.sin(phases) @ self.sines.to(x)
