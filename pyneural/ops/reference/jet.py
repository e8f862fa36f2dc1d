"""The jet ops in plain torch, by Taylor mode, with the arguments of their schemas.

They work under torch.func and torch.compile and can be differentiated again. Letters: N points, D
inputs, O outputs, K derivatives, P parameters, Q coefficients, R columns. In the place of points x
[N, D] stands the jet of the network's inputs, [C, N, D], where they are functions of coordinates: C
channels of the plan.
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
from pyneural.ops.jet.plan import Plan, Term, make_plan
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
    value, z = _first_layer(x, weights[0], biases[0], plan)
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


def _first_layer(
    x: Tensor, weight: Tensor, bias: Tensor, plan: Plan
) -> tuple[Tensor, dict[Derivative, Tensor]]:
    if x.dim() == 3:
        if len(x) != 1 + len(plan.channels):
            raise ValueError(
                f"jet_mlp: x: expected the {1 + len(plan.channels)} channels of the inputs' jet, "
                f"[1 + K, points, inputs], got shape {list(x.shape)}; "
                "pyneural.ops.input_channels(derivatives) names the K derivatives"
            )
        inputs, *derivatives = x.unbind()
        channels = zip(plan.channels, derivatives, strict=True)
        return linear(inputs, weight, bias), {c: linear(d, weight) for c, d in channels}
    # The first derivatives of coordinates are constant, higher ones zero.
    value = linear(x, weight, bias)
    z: dict[Derivative, Tensor] = {}
    for channel in plan.channels:
        first = [(i, c) for i, c in partials_of(channel) if len(i) == 1]
        if first:
            columns = [
                weight.select(1, i) * c if c != 1 else weight.select(1, i) for (i,), c in first
            ]
            z[channel] = sum(columns[1:], start=columns[0]).expand_as(value)
    return value, z


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
        return jet_mlp(point.unsqueeze(-2), weights, biases, *plan).flatten()

    if x.shape[-2] == 0:  # which torch.func.vmap refuses
        rows = len(jet_mlp(x, weights, biases, *plan)) * len(biases[-1])
        return x.new_empty(0, rows, sum(p.numel() for p in chain(weights, biases)))
    jacobian = torch.func.jacrev(channels, argnums=(1, 2))
    grads = torch.func.vmap(jacobian, (x.dim() - 2, None, None))(x, [*weights], [*biases])
    return flat(grads[0], grads[1], start_dim=2)


def jet_mlp_loss(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *options: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The loss [], and where wanted its gradients: those for x, all parameters [P] and
    coefficients [Q], and columns [R, N].

    The loss is the sum over the program's residuals of their mean squares over the points. Of the
    mask, the last option, the first element is for x, the second for parameters and coefficients,
    the third for columns; [0] is returned for what is not wanted.

    >>> x, weights, biases = torch.ones(4, 2), [torch.ones(1, 2)], [torch.ones(1)]
    >>> u = [4, 0, 0, 0, 0, 0]  # channel 0 0; residual 0
    >>> rest = "tanh", [], [], u, [], torch.ones(0), None, [False] * 3
    >>> jet_mlp_loss(x, weights, biases, *rest)[0]
    tensor(9.)
    """
    *plan, residual, constants, coefficients, columns, mask = options
    with_x, with_parameters, with_columns = mask[0], mask[1], mask[2] and columns is not None

    def loss(
        x: Tensor, columns: Any, weights: list[Tensor], biases: list[Tensor], coefficients: Tensor
    ) -> Tensor:
        channels = jet_mlp(x, weights, biases, *plan)
        program = residual, constants
        return mean_square(evaluate_residual(*program, channels, x, coefficients, columns))

    arguments = x, columns, [*weights], [*biases], coefficients
    wanted = with_x, with_columns, *(with_parameters,) * 3
    places = tuple(place for place, is_wanted in enumerate(wanted) if is_wanted)
    empty = x.new_empty(0)
    if not places:
        return loss(*arguments), empty, empty, empty, empty
    found, value = torch.func.grad_and_value(loss, argnums=places)(*arguments)
    grads = dict(zip(places, found, strict=True))
    of_parameters = flat(grads[2], grads[3]) if with_parameters else empty
    return value, grads.get(0, empty), of_parameters, grads.get(4, empty), grads.get(1, empty)


def mean_square(residuals: Sequence[Tensor]) -> Tensor:
    """Sum over the residuals, each [N], of their mean squares, []."""
    return torch.stack([residual.square().mean() for residual in residuals]).sum()
