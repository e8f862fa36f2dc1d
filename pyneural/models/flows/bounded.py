"""Features in an interval, as transforms to the whole line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyneural.errors import check_argument
from pyneural.models.flows.columns import are_readable, column_name
from pyneural.models.flows.lazy import LazyTransform
from pyneural.models.flows.transforms import FlowTransform

Bounds = Sequence[tuple[float | None, float | None] | None]

# Share of the rows on the end of an interval that is taken for rounding.
_BY_ROUNDING = 1e-3


def edges(where: str, bounds: Bounds) -> list[tuple[float, float]]:
    """Low and high of each feature, infinite where there is none.

    >>> edges("Bounded: bounds", [(0.0, None), None])
    [(0.0, inf), (-inf, inf)]
    """
    found = []
    for column, pair in enumerate(bounds):
        try:
            low, high = (None, None) if pair is None else pair
            low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
            found.append((float(low), float(high)))
        except (TypeError, ValueError):
            expected, got = "(low, high) or None for each feature", f"{pair!r} for column {column}"
            check_argument(False, where, expected, got, "write as [(0.0, 1.0), None]")
    return found


class Box(constraints.Constraint):
    """Rows whose features are in their intervals."""

    event_dim = 1

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self.low, self.high = low, high

    def check(self, value: Tensor) -> Tensor:
        """Whether each row is inside."""
        return ((value >= self.low) & (value <= self.high)).all(-1)

    def check_columns(
        self,
        where: str,
        value: Tensor,
        names: Any = None,
        remedy: str = "correct them, or widen bounds",
    ) -> None:
        """ArgumentError with the first column that has values outside."""
        outside = (value < self.low) | (value > self.high)
        if not are_readable(value) or not outside.any():
            return
        column, count, one = _first(outside, value)
        name = column_name(column, names)
        expected = f"{name} in [{float(self.low[column]):g}, {float(self.high[column]):g}]"
        check_argument(False, where, expected, f"{one:g} in {count:,} rows", remedy)

    def check_ends(self, where: str, value: Tensor, names: Any = None) -> None:
        """ArgumentError where rows [N, D] lie on the end of a half-line, or many on an interval's.

        As with zero counts, or fluxes of what was not detected, a single value has a probability: a
        likelihood grows without bound as the density gets a peak there. Rounding puts few rows on
        the end of an interval, and none on that of a half-line which begins at 0.
        """
        half_line = self.low.isfinite() ^ self.high.isfinite()
        on_end = (value == self.low) | (value == self.high)
        on_end &= half_line | (on_end.double().mean(0) > _BY_ROUNDING)
        if not on_end.any():
            return
        column, count, one = _first(on_end, value)
        sign = ">" if one == self.low[column] else "<"
        remedy = (
            "add uniform noise in [0, 1[ to counts; where a flux was not detected, leave out the "
            "row or move the bound"
        )
        expected, got = f"{column_name(column, names)} {sign} {one:g}", f"{one:g} in {count:,} rows"
        check_argument(False, where, f"{expected}, which is a bound", got, remedy)


def _first(bad: Tensor, value: Tensor) -> tuple[int, int, float]:
    """Of [..., D]: the first bad column, its number of bad values, and the first of them."""
    column = int(bad.reshape(-1, bad.shape[-1]).any(0).nonzero()[0])
    values = value[..., column][bad[..., column]].detach()
    return column, len(values), float(values[0])


class BoundedTransform(FlowTransform):
    """Intervals to the line, feature by feature.

        f(x) = log (x - l) - log (h - x)   of an interval,  log |df/dx| = log (h - l) - log (x - l)
                                                                          - log (h - x)
        f(x) = log (x - l), -log (h - x)   of a half-line;  f(x) = x of the line

    At an edge x is taken to be one rounding error inside, so that all stays finite; beyond it the
    log-determinant is -inf, the density 0. So is the end of a half-line, which samples may be
    rounded to; ``fit`` refuses data on it, see ``check_ends``.

    Args:
        low: l, [D]; -inf for none.
        high: h, [D]; inf for none.
    """

    codomain = constraints.real_vector

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.domain = Box(low, high)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(x) [..., D], and the log-determinant [...]."""
        info = torch.finfo(x.dtype)
        low, high, width = self._edges()
        # Shares of the interval; on a half-line, the distance from its end.
        smallest = torch.where(self._both, width.new_tensor(info.eps), info.tiny)
        smallest_a, smallest_b = (
            torch.maximum(smallest, info.eps * edge.abs() / width) for edge in (low, high)
        )
        a = torch.where(self._has_low, torch.maximum((x - low) / width, smallest_a), 1)
        b = torch.where(self._has_high, torch.maximum((high - x) / width, smallest_b), 1)
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
        ArgumentError: an interval that is empty, or what is no pair of numbers.

    >>> share = Bounded([(0.0, 1.0), None])()
    >>> share(torch.tensor([0.5, 3.0]))
    tensor([0., 3.])
    """

    def __init__(self, bounds: Bounds) -> None:
        super().__init__()
        pairs = edges("Bounded: bounds", bounds)
        for column, (low, high) in enumerate(pairs):
            got, remedy = (
                f"({low:g}, {high:g}) for column {column}",
                "write (low, high), or None for",
            )
            check_argument(low < high, "Bounded: bounds", "low < high", got, f"{remedy} no bound")
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", torch.tensor([low for low, _ in pairs]))
        self.register_buffer("high", torch.tensor([high for _, high in pairs]))

    def forward(self, c: Tensor | None = None) -> Transform:
        """The transform; the context is not used."""
        return BoundedTransform(self.low, self.high)

    def extra_repr(self) -> str:
        """The intervals."""
        return str(list(zip(self.low.tolist(), self.high.tolist(), strict=True)))
