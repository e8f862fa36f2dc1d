"""Marginal Gaussianisation: each column by itself becomes normal, by its histogram."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyneural.errors import ArgumentError, whole
from pyneural.models.flows.lazy import LazyTransform
from pyneural.models.flows.transforms import FlowTransform
from pyneural.training.checks import check

_WHERE = "Gaussianisation"
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class GaussianisationTransform(FlowTransform):
    """z_i = Phi^-1(F_i(x_i)), with Phi the normal distribution function.

    F_i is linear in each of K bins of equal width, where it rises by p_ik. Beyond the bins the
    log-determinant is -inf, the density 0.

    Args:
        low: where the first bin begins, [].
        high: where the last one ends, [].
        share: p, [D, K], with rows of sum 1.
    """

    codomain = constraints.real_vector

    def __init__(self, low: Tensor, high: Tensor, share: Tensor) -> None:
        super().__init__()
        self.low, self.high, self.share = low, high, share
        self.width = (high - low) / share.shape[1]
        # F at the edges of the bins, and 1 - F, which keeps its digits where F is nearly 1.
        zero = share.new_zeros(len(share), 1)
        self.below = torch.cat([zero, share.cumsum(1)], 1)  # [D, K + 1]
        self.above = torch.cat([share.flip(1).cumsum(1).flip(1), zero], 1)
        self.domain = constraints.independent(constraints.interval(low, high), 1)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The normal z [..., D], and the log-determinant [...]."""
        bins = self.share.shape[1]
        place = (x - self.low) / self.width
        k = place.detach().floor().long().clamp(0, bins - 1)
        part = (place - k).clamp(0, 1)
        share = _at(self.share, k)
        z = _quantile(
            _at(self.below, k) + part * share, _at(self.above, k + 1) + (1 - part) * share
        )
        ladj = share.log() - self.width.log() + 0.5 * z.square() + _HALF_LOG_TWO_PI
        outside = (x < self.low) | (x > self.high)
        return z, ladj.masked_fill(outside, -math.inf).sum(-1)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The data x [..., D], and the log-determinant [...]."""
        lower, upper = torch.special.ndtr(y), torch.special.ndtr(-y)
        edges = _quantile(self.below[:, 1:-1], self.above[:, 1:-1])  # [D, K - 1]
        columns = y.detach().reshape(-1, len(edges)).T.contiguous()
        k = torch.searchsorted(edges, columns, right=True).T.reshape(y.shape)
        share = _at(self.share, k)
        part = torch.where(
            y < 0,
            (lower - _at(self.below, k)) / share,
            1 - (upper - _at(self.above, k + 1)) / share,
        ).clamp(0, 1)
        ladj = self.width.log() - share.log() - 0.5 * y.square() - _HALF_LOG_TWO_PI
        x = (self.low + self.width * (k + part)).clamp(self.low, self.high)
        return x, ladj.sum(-1)


def _at(table: Tensor, k: Tensor) -> Tensor:
    """Entries k [..., D] of a table [D, K], one of each row."""
    return table[torch.arange(len(table), device=table.device), k]


def _quantile(below: Tensor, above: Tensor) -> Tensor:
    """Phi^-1 of a probability and of 1 minus it, from the smaller of the two."""
    least = torch.finfo(below.dtype).tiny
    low = torch.special.ndtri(below.clamp(least, 0.6))
    high = torch.special.ndtri(above.clamp(least, 0.6))
    return torch.where(below < above, low, -high)


class Gaussianisation(LazyTransform):
    """z_i = Phi^-1(F_i(x_i)), with F_i the distribution function of a histogram of column i.

    With nothing after it the density is that of independent histograms, so that a flow behind it
    has the dependence of the columns alone to learn. It is for columns on an interval whose
    density jumps, as that of dequantised pixels does from one grey level to the next: a smooth
    transform does not make such edges. It is kept in buffers and is not trained.

    Each bin counts as if it had been seen once more than it was (Laplace's rule of succession).

    Args:
        features: D; the density is uniform until ``set_from``.
        bins: of a histogram, K; for whole numbers their count.
        low: where the first bin begins, the same for all columns.
        high: where the last one ends.

    Raises:
        ArgumentError: no bin, or an interval that is empty.

    Source: Chen and Gopinath 2000, Advances in Neural Information Processing Systems 13.

    >>> x = torch.rand(1000, 2).sqrt()
    >>> gaussianisation = Gaussianisation(2, bins=20)
    >>> gaussianisation.set_from(x)
    >>> z = gaussianisation()(x)
    >>> bool((z.std(0) - 1).abs().max() < 0.05)
    True
    """

    low: Tensor
    high: Tensor
    share: Tensor

    def __init__(self, features: int, bins: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        bins = whole(f"{_WHERE}: bins", bins)
        if bins < 1:
            raise ArgumentError(f"{_WHERE}: bins: expected >= 1, got {bins}; write 17")
        if not -math.inf < low < high < math.inf:
            raise ArgumentError(
                f"{_WHERE}: low and high: expected low < high, got {low:g} and {high:g}; give an "
                "interval that has all data"
            )
        self.register_buffer("low", torch.tensor(float(low)))
        self.register_buffer("high", torch.tensor(float(high)))
        self.register_buffer("share", torch.full((features, bins), 1 / bins))

    def forward(self, c: Tensor | None = None) -> Transform:
        """The transform; the context is not used."""
        return GaussianisationTransform(self.low, self.high, self.share)

    @torch.no_grad()
    def set_from(self, x: Tensor) -> None:
        """Takes the histograms of data, [N, D].

        Raises:
            ValueError: values outside of the bins, or not finite; another number of columns.
        """
        features, bins = self.share.shape
        where, low, high = f"{_WHERE}.set_from: x", float(self.low), float(self.high)
        good, remedy = x.dim() == 2 and x.shape[1] == features, "one column a feature"
        check(good, where, f"[N, {features}]", list(x.shape), remedy)
        inside = (x >= low) & (x <= high)
        got = f"{int((~inside).sum()):,} others"
        remedy = "remove them, or give low and high that have all data between them"
        check(bool(inside.all()), where, f"numbers in [{low:g}, {high:g}]", got, remedy)
        k = ((x - low) / (high - low) * bins).long().clamp(max=bins - 1)
        counts = torch.ones(features, bins, dtype=torch.float64, device=x.device)
        counts.scatter_add_(1, k.T, torch.ones_like(k.T, dtype=torch.float64))
        self.share.copy_(counts / counts.sum(1, keepdim=True))

    def extra_repr(self) -> str:
        """Features, bins and interval."""
        features, bins = self.share.shape
        low, high = float(self.low), float(self.high)
        return f"{features}, bins={bins}, low={low:g}, high={high:g}"
