"""The multilayer perceptron in plain torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.ops.reference.dense import dense, dense_backward


def mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    final_activation: str,
) -> Tensor:
    """``dense`` layer by layer, [N, O]."""
    *_, y = _values(x, weights, biases, activation, final_activation)
    return y


def mlp_backward(
    grad_y: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    final_activation: str,
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    """Gradients for x and for all parameters, flat in the order weights[0], biases[0], weights[1],
    ..., empty where not wanted.
    """
    values = _values(x, weights, biases, activation, final_activation)
    parts: list[Tensor] = []
    grad, last = grad_y, len(weights) - 1
    for i in range(last, -1, -1):
        mask = i > 0 or output_mask[0], output_mask[1], output_mask[1]
        f = final_activation if i == last else activation
        layer = values[i], weights[i], biases[i], values[i + 1]
        grad, grad_weight, grad_bias = dense_backward(grad, *layer, f, mask)
        parts[:0] = grad_weight.reshape(-1), grad_bias
    return grad, torch.cat(parts)


def _values(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    final_activation: str,
) -> list[Tensor]:
    """[x, the output of each layer]."""
    values = [x]
    for weight, bias in zip(weights, biases, strict=True):
        f = final_activation if len(values) == len(weights) else activation
        values.append(dense(values[-1], weight, bias, f))
    return values
