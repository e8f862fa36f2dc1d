"""Argument checks shared by the layers."""

from __future__ import annotations

from torch import Tensor


def check_probability(layer: str, name: str, p: float) -> None:
    """ValueError unless p is from 0 to 1."""
    if not 0 <= p <= 1:
        raise ValueError(
            f"{layer}: {name}: expected a probability from 0 to 1, got {p}; write 0.1 for a tenth"
        )


def check_floating(layer: str, name: str, x: Tensor) -> None:
    """ValueError unless x is floating-point; integers are usually tokens without an embedding."""
    if not x.is_floating_point():
        raise ValueError(
            f"{layer}: {name}: expected floating-point values, got {x.dtype}; embed tokens "
            "first, or convert it with .float()"
        )
