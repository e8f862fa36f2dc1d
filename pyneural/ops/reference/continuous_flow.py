"""A continuous flow in plain torch: ``odeint`` of a network and of its divergence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyneural.ode.odeint import odeint
from pyneural.ops.activations import derivatives
from pyneural.ops.reference.mlp import flat
from pyneural.ops.vjp import gradients

# An error of the log-determinant is no error of the path, so it is tolerated this much more.
LADJ_SCALE = 1e-2


def continuous_flow(
    x: Tensor, context: Tensor | None, weights: Sequence[Tensor], biases: Sequence[Tensor],
    frequencies: Sequence[float], activation: str, start: float, end: float, rtol: float,
    atol: float, steps: int, max_steps: int, with_ladj: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The x at the end [N, D], and the log-determinant [N] where it is wanted, else [0].

    All rows take the same steps.
    """
    options: Any = {"rtol": rtol, "atol": atol, "steps": steps or None, "max_steps": max_steps}
    empty = x.new_empty(0)
    if len(x) == 0:
        return x + 0, empty
    waves = x.new_tensor(frequencies)
    widths = 2 * len(frequencies), x.shape[1], weights[0].shape[1]
    of_time, of_x, of_context = weights[0].split((*widths[:2], widths[2] - sum(widths[:2])), 1)
    bias = biases[0] if context is None else linear(context, of_context, biases[0])
    layers = [of_x, *weights[1:]]

    def rates(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        angles = waves * t
        now = bias + of_time @ torch.cat([angles.cos(), angles.sin()])
        u, divergence = _field(state[0], layers, [now, *biases[1:]], activation)
        return (u, LADJ_SCALE * divergence)[: len(state)]

    state = (x, torch.zeros_like(x[:, 0]))[: 2 if with_ladj else 1]
    y, *ladj = odeint(rates, state, (start, end), checkpoint=False, **options)
    return y[-1], ladj[0][-1] / LADJ_SCALE if with_ladj else empty


def _field(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str
) -> tuple[Tensor, Tensor]:
    """Value [N, D] and divergence [N] as in ``ops.mlp_divergence``."""
    first, *between, last = weights
    a, slope = derivatives(activation, linear(x, first) + biases[0], 1)
    if not between:
        return linear(a, last, biases[1]), slope @ (first * last.T).sum(1)
    inner = linear(slope, between[0] * (first @ last).T)
    a, slope = derivatives(activation, linear(a, between[0], biases[1]), 1)
    return linear(a, last, biases[2]), (slope * inner).sum(-1)


def continuous_flow_backward(
    grad_y: Tensor, grad_ladj: Tensor, x: Tensor, context: Tensor | None,
    weights: Sequence[Tensor], biases: Sequence[Tensor], *options: Any,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients for x, context and all parameters, flat, [0] where they are not wanted."""
    *plan, (with_x, with_context, with_parameters) = options
    layers = len(weights)

    def flow(x: Tensor, context: Tensor | None, *p: Tensor) -> tuple[Tensor, Tensor]:
        return continuous_flow(x, context, p[:layers], p[layers:], *plan)

    wanted = with_x, with_context, *(with_parameters,) * (2 * layers)
    tensors = x, context, *weights, *biases
    empty = x.new_empty(0)
    grad_x, grad_context, *grads = gradients(flow, tensors, [grad_y, grad_ladj], wanted, empty)
    return grad_x, grad_context, flat(grads[:layers], grads[layers:])
