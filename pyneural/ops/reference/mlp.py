"""The multilayer perceptron in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

import torch
from torch import Tensor

from pyneural.ops.reference.dense import dense
from pyneural.ops.vjp import gradients


def mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    final_activation: str,
) -> Tensor:
    """``dense`` layer by layer, [N, O]."""
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True), 1):
        x = dense(x, weight, bias, final_activation if i == len(weights) else activation)
    return x


def mlp_backward(
    grad_y: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    final_activation: str,
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    """As ``network_gradients``."""
    network = partial(mlp, activation=activation, final_activation=final_activation)
    return network_gradients(network, grad_y, x, weights, biases, output_mask)


def network_gradients(
    network: Callable,
    grad: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    """The gradients of a function of (x, weights, biases), for x and for all parameters, flat.

    One that is not wanted is empty, [0].
    """
    layers, (with_x, with_parameters) = len(weights), output_mask

    def function(x: Tensor, *p: Tensor) -> Tensor:
        return network(x, p[:layers], p[layers:])

    wanted = with_x, *(with_parameters,) * (2 * layers)
    empty = x.new_empty(0)
    grad_x, *grads = gradients(function, (x, *weights, *biases), [grad], wanted, empty)
    return grad_x, flat(grads[:layers], grads[layers:])


def flat(weights: Sequence[Tensor], biases: Sequence[Tensor], start_dim: int = 0) -> Tensor:
    """Parameter gradients in the order weights[0], biases[0], weights[1], ..., joined.

    Dimensions before start_dim stay.
    """
    pairs = chain.from_iterable(zip(weights, biases, strict=True))
    return torch.cat([part.reshape(*part.shape[:start_dim], -1) for part in pairs], start_dim)
