"""The layer of an autoregressive flow in plain torch: a masked network, then a transform."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pyneural.ops.reference.dense import dense
from pyneural.ops.reference.mlp import flat
from pyneural.ops.reference.spline import rational_quadratic_spline
from pyneural.ops.vjp import gradients


def autoregressive(
    x: Tensor, context: Tensor | None, weights: Sequence[Tensor], biases: Sequence[Tensor],
    degrees: Tensor, activation: str, transform: str, bound: float, slope: float, inverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The values y [N, D] and ladj [N]; the inverse by a pass for each order."""
    features = x.shape[1]
    order = degrees[:features]
    masks = masks_of(degrees, weights, features)

    def transformed(x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        a = x if context is None else torch.cat((x, context), 1)
        for i, (weight, bias, mask) in enumerate(zip(weights, biases, masks, strict=True), 1):
            a = dense(a, weight * mask, bias, "linear" if i == len(weights) else activation)
        parameters = a.unflatten(1, (features, -1)) if features else a.reshape(len(a), 0, 2)
        if transform == "affine":
            return _affine(given, parameters, slope, inverse)
        bins = (parameters.shape[-1] + 1) // 3
        widths, heights, derivatives = parameters.split((bins, bins, bins - 1), -1)
        return rational_quadratic_spline(given, widths, heights, derivatives, bound, slope, inverse)

    if not inverse:
        y, ladj = transformed(x, x)
        return y, ladj.sum(1)
    # After pass k the features of the k lowest orders are those of the inverse.
    passes = features if torch.onnx.is_in_onnx_export() else len(order.unique())
    found, ladj = torch.zeros_like(x), torch.zeros_like(x)
    for _ in range(passes):
        found, ladj = transformed(found, x)
    return found, ladj.sum(1)


def autoregressive_backward(
    grad_y: Tensor, grad_ladj: Tensor, x: Tensor, context: Tensor | None,
    weights: Sequence[Tensor], biases: Sequence[Tensor], degrees: Tensor, saved: Tensor,
    activation: str, transform: str, bound: float, slope: float, inverse: bool,
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients for x, context and all parameters, flat, [0] where not wanted; not by ``saved``."""
    layers = len(weights)
    options = degrees, activation, transform, bound, slope, inverse

    def layer(x: Tensor, context: Tensor | None, *p: Tensor) -> tuple[Tensor, Tensor]:
        return autoregressive(x, context, p[:layers], p[layers:], *options)

    with_x, with_context, with_parameters = output_mask
    wanted = with_x, with_context, *(with_parameters,) * (2 * layers)
    tensors = x, context, *weights, *biases
    empty = x.new_empty(0)
    grad_x, grad_context, *grads = gradients(layer, tensors, [grad_y, grad_ladj], wanted, empty)
    return grad_x, grad_context, flat(grads[:layers], grads[layers:])


def masks_of(degrees: Tensor, weights: Sequence[Tensor], features: int) -> list[Tensor]:
    """Which inputs each unit of each layer sees: those of a degree not above its own, [O, I].

    The degree of a feature is its order as an output, one more as an input; that of the context 0.
    """
    order, *hidden = degrees.split([features, *(len(weight) for weight in weights[:-1])])
    columns = weights[0].shape[1] - features
    below = [F.pad(order + 1, (0, columns)), *hidden]
    parameters = len(weights[-1]) // max(features, 1)
    above = [*hidden, order[:, None].expand(-1, parameters).reshape(-1)]
    return [o[:, None] >= i for i, o in zip(below, above, strict=True)]


def _affine(x: Tensor, parameters: Tensor, slope: float, inverse: bool) -> tuple[Tensor, Tensor]:
    shift, log_scale = parameters.unbind(-1)
    log_scale = log_scale / (1 + (log_scale / math.log(slope)).abs())
    if inverse:
        return (x - shift) * torch.exp(-log_scale), -log_scale
    return x * torch.exp(log_scale) + shift, log_scale
