"""The sparsely connected layer in plain torch: a dense one whose absent weights are zero."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.ops.reference.dense import dense, dense_with_preactivation
from pyneural.ops.vjp import gradients


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
    grad_y: Tensor, x: Tensor, values: Tensor, starts: Tensor, inputs: Tensor, bias: Tensor | None,
    saved: Tensor, activation: str, with_grad_x: bool,
) -> list[Tensor]:  # fmt: skip
    """Gradients for x, empty where not wanted, values and bias; ``saved`` is not read."""
    bias = values.new_zeros(len(starts) - 1) if bias is None else bias

    def layer(x: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        return masked_dense(x, values, starts, inputs, bias, activation)

    wanted = with_grad_x, True, True
    return gradients(layer, (x, values, bias), [grad_y], wanted, x.new_empty(0))


def _weight(x: Tensor, values: Tensor, starts: Tensor, inputs: Tensor) -> Tensor:
    """The matrix W, [O, I]."""
    if torch.onnx.is_in_onnx_export():  # which knows no repeat_interleave
        outputs = (torch.arange(len(inputs))[:, None] >= starts[1:]).sum(1)
    else:
        outputs = torch.arange(len(starts) - 1, device=starts.device)
        outputs = outputs.repeat_interleave(starts.diff(), output_size=len(inputs))
    zeros = values.new_zeros(len(starts) - 1, x.shape[-1])
    return zeros.index_put((outputs, inputs), values)
