"""Features in an interval, as transforms to the whole line."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyneural.errors import ArgumentError
from pyneural.models.flows.lazy import LazyTransform
from pyneural.models.flows.transforms import FlowTransform

Bounds = Sequence[tuple[float | None, float | None] | None]


class _Box(constraints.Constraint):
    """Rows whose features are in their intervals."""

    event_dim = 1

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self.low, self.high = low, high

    def check(self, value: Tensor) -> Tensor:
        return ((value >= self.low) & (value <= self.high)).all(-1)

    def check_columns(self, where: str, value: Tensor) -> None:
        """ArgumentError with the first column that has values outside."""
        outside = (value < self.low) | (value > self.high)
        if not outside.any():
            return
        column = int(outside.flatten(0, -2).any(0).nonzero()[0])
        low, high = float(self.low[column]), float(self.high[column])
        one = float(value[..., column][outside[..., column]][0])
        raise ArgumentError(
            f"{where}: expected column {column} in [{low:g}, {high:g}], got {one:g} in "
            f"{int(outside[..., column].sum()):,} rows; correct them, or widen bounds"
        )


class BoundedTransform(FlowTransform):
    """Intervals to the line, feature by feature.

        f(x) = log (x - l) - log (h - x)   of an interval,  log |df/dx| = log (h - l) - log (x - l)
                                                                          - log (h - x)
        f(x) = log (x - l), -log (h - x)   of a half-line;  f(x) = x of the line

    At an edge x is taken to be one rounding error inside, so that all stays finite; beyond it the
    log-determinant is -inf, the density 0.

    Args:
        low: l, [D]; -inf for none.
        high: h, [D]; inf for none.
    """

    codomain = constraints.real_vector

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.domain = _Box(low, high)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(x) [..., D], and the log-determinant [...]."""
        info = torch.finfo(x.dtype)
        low, high, width = self._edges()
        # Shares of the interval; on a half-line, the distance from its end.
        smallest = torch.where(self._both, width.new_tensor(info.eps), info.tiny)
        a = torch.where(self._has_low, torch.maximum((x - low) / width, smallest), 1)
        b = torch.where(self._has_high, torch.maximum((high - x) / width, smallest), 1)
        from_low, from_high = a.log(), b.log()
        y = torch.where(self._has_low | self._has_high, from_low - from_high, x)
        ladj = -(from_low + from_high) - width.log()
        outside = (x < self.low) | (x > self.high)
        return y, ladj.masked_fill(outside, -math.inf).sum(-1)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """f^-1(y) [..., D], and its log-determinant [...]."""
        low, high, width = self._edges()
        log_sigmoid = torch.nn.functional.logsigmoid
        from_low, from_high = log_sigmoid(y), log_sigmoid(-y)
        # From the nearer edge, so that the distance from it keeps all its digits.
        x = torch.where(y < 0, low + width * from_low.exp(), high - width * from_high.exp())
        ladj = from_low + from_high + width.log()
        ends = self._has_low, self._has_high
        for has, other, edge, sign in zip(ends, ends[::-1], (low, high), (1, -1), strict=True):
            half_line = has & ~other
            safe = torch.where(half_line, sign * y, 0)
            x = torch.where(half_line, edge + sign * safe.exp(), x)
            ladj = torch.where(half_line, safe, ladj)
        free = ~(self._has_low | self._has_high)
        return torch.where(free, y, x), torch.where(free, 0, ladj).sum(-1)

    @property
    def _has_low(self) -> Tensor:
        return self.low.isfinite()

    @property
    def _has_high(self) -> Tensor:
        return self.high.isfinite()

    @property
    def _both(self) -> Tensor:
        return self._has_low & self._has_high

    def _edges(self) -> tuple[Tensor, Tensor, Tensor]:
        """Edges with 0 for those that are infinite, and the width, 1 but of an interval."""
        low = torch.where(self._has_low, self.low, 0)
        high = torch.where(self._has_high, self.high, 0)
        return low, high, torch.where(self._both, high - low, 1)


class Bounded(LazyTransform):
    """The ``BoundedTransform`` of given intervals, which are buffers: a file of weights has them.

    Args:
        bounds: (low, high) for each feature, None where there is no edge, or instead of a pair.

    Raises:
        ArgumentError: an interval that is empty.

    >>> share = Bounded([(0.0, 1.0), None])()
    >>> share(torch.tensor([0.5, 3.0]))
    tensor([0., 3.])
    """

    def __init__(self, bounds: Bounds) -> None:
        super().__init__()
        pairs = [(None, None) if pair is None else pair for pair in bounds]
        lows = [-math.inf if low is None else float(low) for low, _ in pairs]
        highs = [math.inf if high is None else float(high) for _, high in pairs]
        for column, (low, high) in enumerate(zip(lows, highs, strict=True)):
            if not low < high:
                raise ArgumentError(
                    f"Bounded: bounds: expected low < high, got ({low:g}, {high:g}) for column "
                    f"{column}; write (low, high), or None for no bound"
                )
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", torch.tensor(lows))
        self.register_buffer("high", torch.tensor(highs))

    def forward(self, c: Tensor | None = None) -> Transform:
        """The transform; the context is not used."""
        return BoundedTransform(self.low, self.high)

    def extra_repr(self) -> str:
        """The intervals."""
        return str(list(zip(self.low.tolist(), self.high.tolist(), strict=True)))
