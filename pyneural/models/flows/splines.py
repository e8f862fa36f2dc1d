"""Monotonic splines of one variable, of an interval and of a circle."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from pyneural import ops
from pyneural.models.flows.composed import ComposedTransform
from pyneural.models.flows.transforms import FlowTransform


class MonotonicRQSTransform(FlowTransform):
    """Monotonic rational-quadratic spline on [-B, B], the identity outside of it.

    ``ops.rational_quadratic_spline`` has the formula; value and derivative come from one pass, in
    either direction.

    Args:
        widths: unconstrained widths of the K bins, [..., K].
        heights: unconstrained heights, [..., K].
        derivatives: unconstrained logarithms of the inner knots' derivatives, [..., K - 1].
        bound: B > 0.
        slope: smallest mean slope of a bin, and smallest derivative at a knot.

    Source: Durkan et al. 2019, arXiv:1906.04032.

    >>> flat = MonotonicRQSTransform(torch.zeros(8), torch.zeros(8), torch.zeros(7))
    >>> flat.call_and_ladj(torch.tensor(0.5))  # equal bins: the identity
    (tensor(0.5000), tensor(0.))
    """

    domain = constraints.real
    codomain = constraints.real
    sign = +1

    def __init__(
        self,
        widths: Tensor,
        heights: Tensor,
        derivatives: Tensor,
        bound: float = 5.0,
        slope: float = 1e-3,
    ) -> None:
        super().__init__()
        self.widths, self.heights, self.derivatives = widths, heights, derivatives
        self.bound, self.slope = bound, slope

    @property
    def bins(self) -> int:
        """K."""
        return self.widths.shape[-1]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(x), and log f'(x)."""
        return self._spline(x, inverse=False)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """f^-1(y), and minus log f'."""
        return self._spline(y, inverse=True)

    def _spline(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        knots = self.widths, self.heights, self.derivatives
        return ops.rational_quadratic_spline(x, *knots, self.bound, self.slope, inverse)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bins={self.bins})"


class CircularShiftTransform(FlowTransform):
    """f(x) = (x mod 2B) - B: half a turn on the circle [-B, B[.

    It lets a spline, whose ends are fixed, move every point of the circle when two of them follow
    each other.

    Args:
        bound: B > 0.
    """

    sign = +1

    def __init__(self, bound: float = 1.0) -> None:
        super().__init__()
        self.bound = bound
        self.domain = self.codomain = constraints.interval(-bound, bound)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Half a turn, and 0."""
        return torch.remainder(x, 2 * self.bound) - self.bound, torch.zeros_like(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Half a turn, too."""
        return self.call_and_ladj(y)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bound={self.bound})"


def CircularRQSTransform(
    widths: Tensor, heights: Tensor, derivatives: Tensor, slope: float = 1e-3
) -> ComposedTransform:
    """Half a turn on [-pi, pi[, and then a spline on it.

    Source: Rezende et al. 2020, arXiv:2002.02428.
    """
    spline = MonotonicRQSTransform(widths, heights, derivatives, bound=math.pi, slope=slope)
    return ComposedTransform(CircularShiftTransform(bound=math.pi), spline)
