"""Features on a circle beside others, as points of the interval that splines act on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyneural.errors import check_argument
from pyneural.models.flows.bounded import Bounds, Box, edges
from pyneural.models.flows.columns import check_each
from pyneural.models.flows.lazy import LazyTransform
from pyneural.models.flows.transforms import FlowTransform

BOUND = 5.0  # B: splines act on [-B, B], and have the slope 1 at both ends


def split_bounds(
    where: str, features: int, bounds: Bounds | None, periodic: Sequence[bool]
) -> tuple[Bounds | None, Circle | None]:
    """The bounds of the features on the line, and the circle of those with a period.

    Args:
        where: class, for the text of errors.
        features: D.
        bounds: (low, high) for each feature; that of a periodic one is its period, None for
            (-pi, pi).
        periodic: whether each feature is periodic.
    """
    pairs = [None] * features if bounds is None else list(bounds)
    for name, values in (("bounds", pairs), ("periodic", periodic)):
        check_each(f"{where}: {name}", values, features)
    edges(f"{where}: bounds", pairs)
    if not any(periodic):
        return bounds, None
    periods: list[Any] = []
    for column, (pair, on_circle) in enumerate(zip(pairs, periodic, strict=True)):
        pair = (-math.pi, math.pi) if pair is None else pair
        low, high = (math.nan if edge is None else float(edge) for edge in pair)
        good = not on_circle or -math.inf < low < high < math.inf
        expected, got = "the period of a periodic feature", f"{pair} for column {column}"
        check_argument(good, f"{where}: bounds", expected, got, "write (low, high), as (0, 360)")
        periods.append(pair if on_circle else None)
    lines = [None if on_circle else b for b, on_circle in zip(pairs, periodic, strict=True)]
    return (lines if any(line is not None for line in lines) else None), Circle(periods)


class CircleTransform(FlowTransform):
    """[low, high[ to [-B, B[ of the periodic features, and what is outside into it.

    Args:
        mask: [D], whether a feature is periodic.
        low: [D].
        high: [D].
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, mask: Tensor, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.mask, self.low, self.high, self.period = mask, low, high, high - low

    def check_columns(self, where: str, value: Tensor, names: Any) -> None:
        """ArgumentError with the first periodic column that has values outside of its period."""
        low, high = self.low, self.high
        on_line = ~self.mask
        box = Box(low.masked_fill(on_line, -math.inf), high.masked_fill(on_line, math.inf))
        remedy = "write low + (x - low) % (high - low), or correct the period in bounds"
        box.check_columns(where, value, names, remedy)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points of [-B, B[, and the logarithms of the scales."""
        turns = torch.remainder((x - self.low) / self.period, 1)
        return torch.where(self.mask, (2 * turns - 1) * BOUND, x), self._ladj(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Points of [low, high[."""
        turns = (y / BOUND + 1) / 2
        return torch.where(self.mask, self.low + turns * self.period, y), -self._ladj(y)

    def _ladj(self, x: Tensor) -> Tensor:
        scales = torch.where(self.mask, 2 * BOUND / self.period, 1)
        return scales.log().sum().expand(x.shape[:-1])


class Circle(LazyTransform):
    """The ``CircleTransform`` of given periods, which are buffers: a file of weights has them.

    Args:
        periods: (low, high) for each periodic feature, None for another one.

    >>> hours = Circle([(0.0, 24.0), None])()
    >>> hours(torch.tensor([[6.0, 1.0], [30.0, 1.0]]))
    tensor([[-2.5000,  1.0000],
            [-2.5000,  1.0000]])
    """

    mask: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, periods: Bounds) -> None:
        super().__init__()
        pairs: list[Any] = [(0, 1) if pair is None else pair for pair in periods]
        self.register_buffer("mask", torch.tensor([pair is not None for pair in periods]))
        self.register_buffer("low", torch.tensor([float(low) for low, _ in pairs]))
        self.register_buffer("high", torch.tensor([float(high) for _, high in pairs]))

    def forward(self, c: Tensor | None = None) -> CircleTransform:
        """The transform; the context is not used."""
        return CircleTransform(self.mask, self.low, self.high)

    def extra_repr(self) -> str:
        """The periods."""
        rows = zip(self.mask.tolist(), self.low.tolist(), self.high.tolist(), strict=True)
        return str([(low, high) if on_circle else None for on_circle, low, high in rows])


class HalfTurnTransform(FlowTransform):
    """Half a turn of the periodic features on [-B, B[, without which splines would keep its ends.

    Args:
        mask: [D], whether a feature is periodic.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Half a turn, and 0."""
        turned = torch.where(self.mask, torch.remainder(x, 2 * BOUND) - BOUND, x)
        return turned, x.new_zeros(x.shape[:-1])

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Half a turn, too."""
        return self.call_and_ladj(y)


class HalfTurn(LazyTransform):
    """The ``HalfTurnTransform``.

    Args:
        mask: [D], whether a feature is periodic.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.clone())

    def forward(self, c: Tensor | None = None) -> Transform:
        """The transform; the context is not used."""
        return HalfTurnTransform(self.mask)
