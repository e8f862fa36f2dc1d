"""The jet ops in plain torch, by Taylor mode, with the arguments of their schemas.

They work under torch.func and torch.compile and can be differentiated again. Letters: N points, D
inputs, O outputs, K derivatives, P parameters, Q coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyneural.ops import activations
from pyneural.ops.jet.derivatives import Derivative, decode, partials_of
from pyneural.ops.jet.plan import Term, make_plan
from pyneural.ops.jet.residual import evaluate_residual
from pyneural.ops.reference.mlp import flat, network_gradients


def jet_mlp(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str,
    derivatives: Sequence[int], operator_coefficients: Sequence[float],
) -> Tensor:  # fmt: skip
    """The value and its derivatives, [1 + K, N, O].

    >>> x, weight = torch.tensor([[3.0]]), torch.tensor([[1.0]])
    >>> weights, biases = [weight, weight], [torch.zeros(1), torch.zeros(1)]
    >>> u, u_xx = jet_mlp(x, weights, biases, "sin", [2, 0, 0], [])
    >>> bool(torch.isclose(u_xx, -u))
    True
    """
    plan = make_plan(decode(derivatives, operator_coefficients))
    # z: a layer's channels, each [N, O]; one that is missing is zero everywhere.
    value = linear(x, weights[0], biases[0])
    z: dict[Derivative, Tensor] = {}
    for channel in plan.channels:
        first = [(i, c) for i, c in partials_of(channel) if len(i) == 1]
        if first:
            columns = [
                weights[0].select(1, i) * c if c != 1 else weights[0].select(1, i)
                for (i,), c in first
            ]
            z[channel] = sum(columns[1:], start=columns[0]).expand_as(value)
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        f = activations.derivatives(activation, value, plan.order)
        a = {}
        for channel, terms in plan.channels.items():
            products = [_product(term, f, z) for term in terms if all(k in z for k in term.factors)]
            a[channel] = sum(products[1:], start=products[0])
        value = linear(f[0], weight, bias)
        z = {channel: linear(a[channel], weight) for channel in a}
    zeros = torch.zeros_like(value)
    return torch.stack([value, *(z.get(channel, zeros) for channel in plan.outputs)])


def _product(term: Term, f: Sequence[Tensor], z: dict[Derivative, Tensor]) -> Tensor:
    product = f[len(term.factors)]
    for factor in term.factors:
        product = product * z[factor]
    return product if term.coefficient == 1 else term.coefficient * product


jet_mlp_backward = partial(network_gradients, jet_mlp)


def jet_mlp_jacobian(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *plan: Any
) -> Tensor:
    """Gradient of every point's channels with respect to the parameters, [N, (1 + K) O, P].

    >>> x, weights, biases = torch.ones(4, 2), [torch.ones(3, 2)], [torch.ones(3)]
    >>> jet_mlp_jacobian(x, weights, biases, "tanh", [1, 0], []).shape
    torch.Size([4, 6, 9])
    """

    def channels(point: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
        return jet_mlp(point[None], weights, biases, *plan).flatten()

    if len(x) == 0:  # which torch.func.vmap refuses
        rows = len(jet_mlp(x, weights, biases, *plan)) * len(biases[-1])
        return x.new_empty(0, rows, sum(p.numel() for p in chain(weights, biases)))
    jacobian = torch.func.jacrev(channels, argnums=(1, 2))
    grads = torch.func.vmap(jacobian, (0, None, None))(x, [*weights], [*biases])
    return flat(grads[0], grads[1], start_dim=2)


def jet_mlp_loss(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss [], and where wanted its gradients: grad_parameters [P], grad_coefficients [Q].

    The loss is the sum over the program's residuals of their mean squares over the points.

    >>> x, weights, biases = torch.ones(4, 2), [torch.ones(1, 2)], [torch.ones(1)]
    >>> u = [4, 0, 0, 0, 0, 0]  # channel 0 0; residual 0
    >>> jet_mlp_loss(x, weights, biases, "tanh", [], [], u, [], torch.ones(0), False)[0]
    tensor(9.)
    """
    *plan, residual, constants, coefficients, with_gradient = options

    def loss(weights: list[Tensor], biases: list[Tensor], coefficients: Tensor) -> Tensor:
        channels = jet_mlp(x, weights, biases, *plan)
        return mean_square(evaluate_residual(residual, constants, channels, x, coefficients))

    arguments = [*weights], [*biases], coefficients
    if not with_gradient:
        return loss(*arguments), x.new_empty(0), x.new_empty(0)
    grads, value = torch.func.grad_and_value(loss, argnums=(0, 1, 2))(*arguments)
    return value, flat(*grads[:2]), grads[2]


def mean_square(residuals: Sequence[Tensor]) -> Tensor:
    """Sum over the residuals, each [N], of their mean squares, []."""
    return torch.stack([residual.square().mean() for residual in residuals]).sum()
