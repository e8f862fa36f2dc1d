"""The range of a network's inputs, which is scaled to [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.errors import ArgumentError


def bounds(
    where: str,
    low: Tensor | Sequence[float] | float,
    high: Tensor | Sequence[float] | float,
    in_features: int,
) -> tuple[Tensor, Tensor]:
    """The bounds of each input, [in_features] both.

    Raises:
        ArgumentError: another number of them, or bounds that are not finite with low < high.

    >>> bounds("example", -1.0, [1.0, 2.0], 2)
    (tensor([-1., -1.]), tensor([1., 2.]))
    """
    low, high = _bound(where, low, in_features), _bound(where, high, in_features)
    good = torch.isfinite(high - low) & (low < high)
    if not (good.is_meta or bool(good.all())):
        raise ArgumentError(
            f"{where}: input_range: expected finite (low, high) with low < high, got "
            f"({low.tolist()}, {high.tolist()}); take them from the domain: domain.range"
        )
    return low, high


def _bound(where: str, value: Tensor | Sequence[float] | float, in_features: int) -> Tensor:
    bound = torch.as_tensor(value, dtype=torch.get_default_dtype())
    if bound.dim() > 1 or bound.numel() not in (1, in_features):
        raise ArgumentError(
            f"{where}: input_range: expected numbers or [{in_features}], got {list(bound.shape)}; "
            "give one bound per input"
        )
    return bound.expand(in_features).clone()
