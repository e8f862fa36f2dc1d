"""Argument checks shared by the layers."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.errors import ArgumentError
from pyneural.ops.transforms import by_autocast


def check_probability(layer: str, name: str, p: float) -> None:
    """ArgumentError unless p is from 0 to 1."""
    if not 0 <= p <= 1:
        raise ArgumentError(
            f"{layer}: {name}: expected a probability from 0 to 1, got {p}; write 0.1 for a tenth"
        )


def check_floating(layer: str, name: str, x: Tensor) -> None:
    """ArgumentError unless x is floating-point; integers are usually tokens, not yet embedded."""
    if not x.is_floating_point():
        raise ArgumentError(
            f"{layer}: {name}: expected floating-point values, got {x.dtype}; embed tokens "
            "first, or convert it with .float()"
        )


def check_input(
    layer: torch.nn.Module, name: str, x: Tensor, width: int, weight: Tensor | None
) -> None:
    """ArgumentError unless x is [..., width] like a weight of the layer in dtype and device.

    Asked after an op has refused them, so that the message names what the user gave.
    """
    where = f"{type(layer).__name__}: {name}"
    if x.dim() == 0 or x.shape[-1] != width:
        raise ArgumentError(
            f"{where}: expected [..., {width}], got {list(x.shape)}; the last dimension holds the "
            "features, as many as the layer was made for"
        )
    if weight is None:
        return
    if x.dtype != weight.dtype and not by_autocast(x.device.type):
        raise ArgumentError(
            f"{where}: expected {weight.dtype} as the layer's weights, got {x.dtype}; convert it "
            f"with .to({weight.dtype}), or the layer with .to({x.dtype})"
        )
    if x.device != weight.device:
        raise ArgumentError(
            f"{where}: expected {weight.device}, where the layer's weights are, got {x.device}; "
            f"move one with .to(device)"
        )


def of_layer(layer: torch.nn.Module, op: str, error: Exception) -> Exception:
    """The error of an op in the name of the layer that called it; another error itself."""
    message = str(error)
    if not isinstance(error, ArgumentError) or not message.startswith(f"{op}: "):
        return error
    return ArgumentError(f"{type(layer).__name__}{message.removeprefix(op)}")


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
    """ArgumentError unless x holds floating tokens of this width and is batched as ``like`` is.

    That is, [L, N, width], with ``batch_first`` [N, L, width], or [L, width]; ``length`` is the
    letter of L in the message.
    """
    if x.dim() not in (2, 3) or x.dim() != like.dim() or x.shape[-1] != width:
        batched = f"[N, {length}, {width}]" if batch_first else f"[{length}, N, {width}]"
        raise ArgumentError(
            f"{layer}: {name}: expected {batched} or [{length}, {width}], got {list(x.shape)}; "
            f"{remedy}"
        )
    check_floating(layer, name, x)
