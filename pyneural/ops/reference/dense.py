"""The fully connected layer in plain torch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import linear

from pyneural.ops.activations import NEEDS_PREACTIVATION, VALUES, derivatives


def dense(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """f(x W^T + b), [..., O]."""
    return VALUES[activation](linear(x, weight, bias))


def dense_with_preactivation(
    x: Tensor, weight: Tensor, bias: Tensor | None, activation: str
) -> tuple[Tensor, Tensor]:
    """f(z) and z = x W^T + b, which is empty where the backward does not need it."""
    z = linear(x, weight, bias)
    return VALUES[activation](z), z if activation in NEEDS_PREACTIVATION else x.new_empty(0)


def dense_backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    saved: Tensor,
    activation: str,
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for x, weight and bias, empty where not wanted.

        grad_z = grad_y f'(z),  grad_x = grad_z W,  grad_W = grad_z^T x,  grad_b = sum_n grad_z

    z is computed anew rather than taken from ``saved``, so that derivatives of this reach x, weight
    and bias.
    """
    z = linear(x, weight, bias)
    grad_z = grad_y * derivatives(activation, z, 1)[1]
    rows = grad_z.reshape(-1, weight.shape[0])  # [N, O]
    empty = x.new_empty(0)
    return (
        grad_z @ weight if output_mask[0] else empty,
        rows.mT @ x.reshape(-1, weight.shape[1]) if output_mask[1] else empty,
        rows.sum(0) if output_mask[2] else empty,
    )
