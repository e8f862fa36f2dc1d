"""The sparsely connected layer in plain torch: a dense one whose absent weights are zero."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.ops.reference.dense import dense, dense_backward, dense_with_preactivation


def masked_dense(
    x: Tensor, values: Tensor, starts: Tensor, inputs: Tensor, bias: Tensor | None, activation: str
) -> Tensor:
    """f(W x + b) with W zero where there is no edge, [..., O]."""
    return dense(x, _weight(x, values, starts, inputs), bias, activation)


def masked_dense_with_preactivation(
    x: Tensor, values: Tensor, starts: Tensor, inputs: Tensor, bias: Tensor | None, activation: str
) -> tuple[Tensor, Tensor]:
    """The same with z, as ``dense_with_preactivation`` gives it."""
    return dense_with_preactivation(x, _weight(x, values, starts, inputs), bias, activation)


def masked_dense_backward(
    grad_y: Tensor,
    x: Tensor,
    values: Tensor,
    starts: Tensor,
    inputs: Tensor,
    bias: Tensor | None,
    saved: Tensor,
    activation: str,
    with_grad_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for x, empty where not wanted, values and bias."""
    weight = _weight(x, values, starts, inputs)
    grad_x, grad_weight, grad_bias = dense_backward(
        grad_y, x, weight, bias, saved, activation, (with_grad_x, True, True)
    )
    return grad_x, grad_weight[_outputs(starts, inputs), inputs], grad_bias


def _outputs(starts: Tensor, inputs: Tensor) -> Tensor:
    """The output of each edge, [E]."""
    outputs = torch.arange(len(starts) - 1, device=starts.device)
    return outputs.repeat_interleave(starts.diff(), output_size=len(inputs))


def _weight(x: Tensor, values: Tensor, starts: Tensor, inputs: Tensor) -> Tensor:
    """W, [O, I]."""
    zeros = values.new_zeros(len(starts) - 1, x.shape[-1])
    return zeros.index_put((_outputs(starts, inputs), inputs), values)
