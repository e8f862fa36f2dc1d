"""The multilayer perceptron in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pyneural.ops.reference.dense import dense
from pyneural.ops.vjp import gradients


def mlp(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str,
    final_activation: str,
) -> Tensor:  # fmt: skip
    """``dense`` layer by layer, [N, O]."""
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True), 1):
        x = dense(x, weight, bias, final_activation if i == len(weights) else activation)
    return x


def network_gradients(
    network: Callable, grad: Tensor, x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor],
    *options: Any,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The gradients of a function of (x, weights, biases, *plan), for x and for all parameters.

    options: the plan, then for which of the two a gradient is wanted; [0] is returned for the
    other. Those of the parameters are flat.
    """
    *plan, (with_x, with_parameters) = options
    layers = len(weights)

    def function(x: Tensor, *p: Tensor) -> Tensor:
        return network(x, p[:layers], p[layers:], *plan)

    wanted = with_x, *(with_parameters,) * (2 * layers)
    empty = x.new_empty(0)
    grad_x, *grads = gradients(function, (x, *weights, *biases), [grad], wanted, empty)
    return grad_x, flat(grads[:layers], grads[layers:])


mlp_backward = partial(network_gradients, mlp)


def flat(weights: Sequence[Tensor], biases: Sequence[Tensor], start_dim: int = 0) -> Tensor:
    """Parameter gradients in the order weights[0], biases[0], weights[1], ..., joined.

    Dimensions before start_dim stay.
    """
    pairs = chain.from_iterable(zip(weights, biases, strict=True))
    return torch.cat([part.reshape(*part.shape[:start_dim], -1) for part in pairs], start_dim)
