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


def check_tokens(
    layer: str,
    name: str,
    x: Tensor,
    like: Tensor,
    width: int,
    length: str,
    batch_first: bool,
    remedy: str,
) -> None:
    """ValueError unless x holds floating tokens of this width and is batched as ``like`` is.

    That is, [L, N, width], with ``batch_first`` [N, L, width], or [L, width]; ``length`` is the
    letter of L in the message.
    """
    if x.dim() not in (2, 3) or x.dim() != like.dim() or x.shape[-1] != width:
        batched = f"[N, {length}, {width}]" if batch_first else f"[{length}, N, {width}]"
        raise ValueError(
            f"{layer}: {name}: expected {batched} or [{length}, {width}], got {list(x.shape)}; "
            f"{remedy}"
        )
    check_floating(layer, name, x)
