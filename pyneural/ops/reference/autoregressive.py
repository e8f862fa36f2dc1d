"""Layers of an autoregressive flow in plain torch: masked networks and their transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pyneural.ops.reference.dense import dense
from pyneural.ops.reference.mlp import flat
from pyneural.ops.reference.spline import rational_quadratic_spline
from pyneural.ops.vjp import gradients


def autoregressive(
    x: Tensor, context: Tensor | None, weights: Sequence[Tensor], biases: Sequence[Tensor],
    degrees: Sequence[Tensor], activation: str, transform: str, bound: float, slope: float,
    inverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The values y [N, D] and ladj [N] of all layers, those of the inverse from the last one on."""
    depth, total = len(weights) // len(degrees), x.new_zeros(len(x))
    layers = [slice(depth * i, depth * (i + 1)) for i in range(len(degrees))]
    in_turn = list(zip(layers, degrees, strict=True))
    for of_layer, degree in reversed(in_turn) if inverse else in_turn:
        x, ladj = _layer(
            x, context, weights[of_layer], biases[of_layer], degree, activation, transform, bound,
            slope, inverse,
        )  # fmt: skip
        total = total + ladj
    return x, total


def _layer(
    x: Tensor, context: Tensor | None, weights: Sequence[Tensor], biases: Sequence[Tensor],
    degrees: Tensor, activation: str, transform: str, bound: float, slope: float, inverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Those of one layer; the inverse by a pass for each order."""
    features = x.shape[1]
    order = degrees[:features]
    stays = staying(weights, features, context)
    masks = masks_of(degrees, weights, features, context)

    def transformed(seen: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        a = seen if context is None else torch.cat((seen, context), 1)
        for i, (weight, bias, mask) in enumerate(zip(weights, biases, masks, strict=True), 1):
            a = dense(a, weight * mask, bias, "linear" if i == len(weights) else activation)
        count = given.shape[1]
        parameters = a.unflatten(1, (count, -1)) if count else a.reshape(len(a), 0, 2)
        if transform == "affine":
            return _affine(given, parameters, slope, inverse)
        bins = (parameters.shape[-1] + 1) // 3
        widths, heights, derivatives = parameters.split((bins, bins, bins - 1), -1)
        return rational_quadratic_spline(given, widths, heights, derivatives, bound, slope, inverse)

    if stays:
        columns = _staying_first(order)
        seen, given = x[:, columns].split([stays, features - stays], 1)
        found, ladj = transformed(seen, given)
        return torch.cat((seen, found), 1)[:, columns.argsort()], ladj.sum(1)
    if not inverse:
        y, ladj = transformed(x, x)
        return y, ladj.sum(1)
    # After pass k the features of the k lowest orders are those of the inverse.
    passes = features if torch.onnx.is_in_onnx_export() else len(order.unique())
    found, ladj = torch.zeros_like(x), torch.zeros_like(x)
    for _ in range(passes):
        found, ladj = transformed(found, x)
    return found, ladj.sum(1)


def autoregressive_with_saved(x: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The same, and nothing more that the backward would need."""
    return *autoregressive(x, *others), x.new_empty(0)


def autoregressive_backward(
    grad_y: Tensor, grad_ladj: Tensor, x: Tensor, context: Tensor | None,
    weights: Sequence[Tensor], biases: Sequence[Tensor], degrees: Sequence[Tensor], saved: Tensor,
    activation: str, transform: str, bound: float, slope: float, inverse: bool,
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients for x, context and all parameters, flat, [0] where not wanted; not by ``saved``."""
    matrices = len(weights)
    options = degrees, activation, transform, bound, slope, inverse

    def flow(x: Tensor, context: Tensor | None, *p: Tensor) -> tuple[Tensor, Tensor]:
        return autoregressive(x, context, p[:matrices], p[matrices:], *options)

    with_x, with_context, with_parameters = output_mask
    wanted = with_x, with_context, *(with_parameters,) * (2 * matrices)
    tensors = x, context, *weights, *biases
    empty = x.new_empty(0)
    grad_x, grad_context, *grads = gradients(flow, tensors, [grad_y, grad_ladj], wanted, empty)
    return grad_x, grad_context, flat(grads[:matrices], grads[matrices:])


def autoregressive_nll(
    x: Tensor, context: Tensor | None, weights: Sequence[Tensor], biases: Sequence[Tensor],
    degrees: Sequence[Tensor], activation: str, transform: str, bound: float, slope: float,
) -> Tensor:  # fmt: skip
    """The mean over the rows of -log N(z; 0, 1) - ladj."""
    z, ladj = autoregressive(
        x, context, weights, biases, degrees, activation, transform, bound, slope, False
    )
    constant = 0.5 * x.shape[1] * math.log(2 * math.pi)
    return (0.5 * z.square().sum(1) - ladj).mean() + constant


def autoregressive_nll_with_gradients(
    x: Tensor, context: Tensor | None, weights: Sequence[Tensor], biases: Sequence[Tensor],
    degrees: Sequence[Tensor], activation: str, transform: str, bound: float, slope: float,
    output_mask: Sequence[bool],
) -> list[Tensor]:  # fmt: skip
    """The same, its gradients for x and context, [0] if not wanted, and those for parameters."""
    matrices = len(weights)
    options = degrees, activation, transform, bound, slope

    def nll(x: Any, context: Any, *p: Any) -> Tensor:
        return autoregressive_nll(x, context, p[:matrices], p[matrices:], *options)

    with_x, with_context, with_parameters = output_mask
    wanted = with_x, with_context, *(with_parameters,) * (2 * matrices)
    tensors = x, context, *weights, *biases
    loss, empty = nll(*tensors), x.new_empty(0)
    ones = [torch.ones_like(loss)]
    grad_x, grad_context, *grads = gradients(nll, tensors, ones, wanted, empty)
    return [loss, grad_x, grad_context, *(grads if with_parameters else [])]


def staying(weights: Sequence[Tensor], features: int, context: Tensor | None = None) -> int:
    """How many features stay in a coupling layer, whose network sees these alone; else 0."""
    seen = weights[0].shape[1] - (0 if context is None else context.shape[1])
    return seen if 0 < seen < features else 0


def masks_of(
    degrees: Tensor, weights: Sequence[Tensor], features: int, context: Tensor | None = None
) -> list[Tensor]:
    """Which inputs each unit of each layer sees: those of a degree not above its own, [O, I].

    The degree of a feature is its order as an output, one more as an input; that of the context 0.
    """
    order, *hidden = degrees.split([features, *(len(weight) for weight in weights[:-1])])
    stays = staying(weights, features, context)
    seen = transformed = order
    if stays:
        seen, transformed = order[_staying_first(order)].split([stays, features - stays])
    columns = weights[0].shape[1] - len(seen)
    below = [F.pad(seen + 1, (0, columns)), *hidden]
    parameters = len(weights[-1]) // max(len(transformed), 1)
    above = [*hidden, transformed[:, None].expand(-1, parameters).reshape(-1)]
    return [o[:, None] >= i for i, o in zip(below, above, strict=True)]


def _staying_first(order: Tensor) -> Tensor:
    """The columns of features that stay, then those of the others."""
    return (order >= 0).long().argsort(stable=True)


def _affine(x: Tensor, parameters: Tensor, slope: float, inverse: bool) -> tuple[Tensor, Tensor]:
    shift, log_scale = parameters.unbind(-1)
    log_scale = log_scale / (1 + (log_scale / math.log(slope)).abs())
    if inverse:
        return (x - shift) * torch.exp(-log_scale), -log_scale
    return x * torch.exp(log_scale) + shift, log_scale
