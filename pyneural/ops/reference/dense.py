"""The fully connected layer in plain torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor
from torch.nn.functional import linear

from pyneural.ops.activations import NEEDS_PREACTIVATION, VALUES
from pyneural.ops.vjp import gradients


def dense(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """f(x W^T + b), [..., O]."""
    z = linear(x, weight, bias)
    return z if activation == "linear" else VALUES[activation](z)


def dense_with_preactivation(
    x: Tensor, weight: Tensor, bias: Tensor | None, activation: str
) -> tuple[Tensor, Tensor]:
    """f(z) and z = x W^T + b, which is empty where the backward does not need it."""
    z = linear(x, weight, bias)
    return VALUES[activation](z), z if activation in NEEDS_PREACTIVATION else x.new_empty(0)


def dense_backward(
    grad_y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, saved: Tensor, activation: str,
    output_mask: Sequence[bool],
) -> list[Tensor]:  # fmt: skip
    """Gradients for x, weight and bias, empty where not wanted; ``saved`` is not read."""
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    layer = partial(dense, activation=activation)
    return gradients(layer, (x, weight, bias), [grad_y], output_mask, x.new_empty(0))
