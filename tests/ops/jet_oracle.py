"""What the jet ops are tested against, with the arguments of ``pyneural.ops``.

The jet by nested differentiation through torch's own functions, in reverse mode (``nested_jet``)
and in forward mode (``forward_jet``, which works under the transforms of torch.func), shares
nothing with Taylor mode, in which the kernels and the reference are written. Of the jet of a
network's inputs they make inputs that have it. ``taylor_jet`` and ``taylor_loss`` are the
reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyneural import ops
from pyneural.ops import Derivative, ResidualProgram, reference
from pyneural.ops.activations import VALUES
from pyneural.ops.jet.derivatives import encode, partials_of


def network_value(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str
) -> Tensor:
    """The network in plain torch, [N, O]."""
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = VALUES[activation](linear(x, weight, bias))
    return linear(x, weights[-1], biases[-1])


def nested_jet(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Sequence[Derivative],
) -> tuple[Tensor, ...]:
    """(u, *derivatives), each [N, O], with one reverse pass an order and output, nested."""
    if x.dim() == 2:
        return nested(lambda x: network_value(x, weights, biases, activation), x, derivatives)
    inputs, points = inputs_of(x, derivatives)
    return nested(
        lambda at: network_value(inputs(at), weights, biases, activation), points, derivatives
    )


def nested(
    function: Callable[[Tensor], Tensor], x: Tensor, derivatives: Sequence[Derivative]
) -> tuple[Tensor, ...]:
    """The value of a function of points and its derivatives, each [N, O]."""
    with torch.enable_grad():
        x = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
        u = function(x)

        def partial(indices: tuple[int, ...]) -> Tensor:
            if not indices:
                return u
            lower = partial(indices[:-1])
            columns = [_gradient(column, x)[:, indices[-1]] for column in lower.unbind(1)]
            return torch.stack(columns, 1)

        return (u, *(_sum_of_partials(derivative, partial) for derivative in derivatives))


def inputs_of(
    jet: Tensor, derivatives: Sequence[Derivative]
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Inputs e of a network as functions of coordinates, with this jet [C, N, E]; and the points.

    They are Taylor polynomials about 0, with other coefficients at each point. An operator's
    channel gives the last of its partial derivatives that is no channel itself: the jet can be of
    any numbers as long as each operator has one.
    """
    channels = ops.input_channels(derivatives)
    given = dict(zip(channels, jet[1:], strict=True))
    coefficients = {d: value for d, value in given.items() if isinstance(d, tuple)}
    for operator, value in given.items():
        if isinstance(operator, tuple):
            continue
        *_, (free, c) = (p for p in operator.partials if p[0] not in coefficients)
        others = [
            factor * coefficients[indices]
            for indices, factor in operator.partials
            if indices != free and indices in coefficients
        ]
        coefficients[free] = (value - sum(others)) / c

    def inputs(x: Tensor) -> Tensor:
        e = jet[0]
        for indices, coefficient in coefficients.items():
            term = coefficient / math.prod(math.factorial(indices.count(i)) for i in {*indices})
            for i in indices:
                term = term * x[:, i : i + 1]
            e = e + term
        return e

    largest = max((i for d in coefficients for i in d), default=0)
    return inputs, jet.new_zeros(jet.shape[1], 1 + largest)


def _gradient(column: Tensor, x: Tensor) -> Tensor:
    """Gradient [N, D] of a column [N] each row of which depends on its own point alone."""
    if not column.requires_grad:
        return torch.zeros_like(x)
    grads = torch.autograd.grad(
        column.sum(), x, create_graph=True, allow_unused=True, materialize_grads=True
    )
    return grads[0]


def forward_jet(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Sequence[Derivative],
) -> Tensor:
    """The jet, [1 + K, N, O], with one forward-mode derivative an order, nested."""
    inputs, points = (lambda at: at), x
    if x.dim() == 3:
        inputs, points = inputs_of(x, derivatives)

    def partial(indices: tuple[int, ...]) -> Tensor:
        def value(x: Tensor) -> Tensor:
            return network_value(inputs(x), weights, biases, activation)

        function: Callable[[Tensor], Tensor] = value
        for index in indices:
            function = _derivative(function, index)
        return function(points)

    return torch.stack([partial(()), *(_sum_of_partials(d, partial) for d in derivatives)])


def _derivative(function: Callable[[Tensor], Tensor], index: int) -> Callable[[Tensor], Tensor]:
    def derivative(x: Tensor) -> Tensor:
        direction = torch.nn.functional.one_hot(torch.tensor(index), x.shape[1]).to(x)
        return torch.func.jvp(function, (x,), (direction.expand_as(x),))[1]

    return derivative


def _sum_of_partials(derivative: Derivative, partial: Callable) -> Tensor:
    return torch.stack([c * partial(indices) for indices, c in partials_of(derivative)]).sum(0)


def forward_jacobian(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Sequence[Derivative],
) -> Tensor:
    """``ops.jet_mlp_jacobian`` of ``forward_jet``."""

    def channels(point: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
        return forward_jet(point[None], weights, biases, activation, derivatives).flatten()

    jacobian = torch.func.jacrev(channels, argnums=(1, 2))
    grads = torch.func.vmap(jacobian, (0, None, None))(x, [*weights], [*biases])
    pairs = chain.from_iterable(zip(*grads, strict=True))
    return torch.cat([grad.flatten(2) for grad in pairs], 2)


def residual_values(
    residual: Callable, jet: Tensor, x: Tensor, coefficients: Tensor, *columns: Tensor
) -> Tensor:
    """A residual as ``record_residual`` takes it, evaluated on tensors, [E, N].

    jet [1 + K, N, O], x [N, D], coefficients [Q], columns [R, N].
    """
    results = residual(jet.movedim(2, 1), x.T if x.dim() == 2 else None, coefficients, *columns)
    several = results if isinstance(results, tuple) else (results,)
    residuals = [torch.as_tensor(r, dtype=x.dtype, device=x.device) for r in several]
    return torch.stack([r.expand(jet.shape[1]) for r in residuals])


def mean_square(
    residual: Callable, jet: Tensor, x: Tensor, coefficients: Tensor, *columns: Tensor
) -> Tensor:
    """The loss of such a residual."""
    values = residual_values(residual, jet, x, coefficients, *columns)
    return values.square().sum() / values.shape[1]


def residual_jacobian(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str,
    derivatives: Sequence[Derivative], residual: Callable, coefficients: Tensor, *columns: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The residuals [E, N] and their gradients for parameters and coefficients [M, E, N]."""

    def residuals(
        point: Tensor, weights: list[Tensor], biases: list[Tensor], coefficients: Tensor,
        *columns: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        point = point.unsqueeze(-2)
        jet = forward_jet(point, weights, biases, activation, derivatives)
        rows = [column.unsqueeze(-1) for column in columns]
        values = residual_values(residual, jet, point, coefficients, *rows)[:, 0]
        return values, values

    jacobian = torch.func.jacrev(residuals, argnums=(1, 2, 3), has_aux=True)
    dims = x.dim() - 2, None, None, None, *(1 for _ in columns)
    batched = torch.func.vmap(jacobian, dims)
    grads, values = batched(x, [*weights], [*biases], coefficients, *columns)  # [N, E, ...], [N, E]
    pairs = [*chain.from_iterable(zip(*grads[:2], strict=True)), grads[2]]
    return values.T, torch.cat([grad.flatten(2) for grad in pairs], 2).permute(2, 1, 0)


def taylor_jet(*arguments: Any) -> tuple[Tensor, ...]:
    """(u, *derivatives) of the reference."""
    *network, derivatives = arguments
    return reference.jet_mlp(*network, *encode("", derivatives)).unbind()


def taylor_loss(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str,
    derivatives: Sequence[Derivative], residual: ResidualProgram,
    coefficients: Tensor | None = None, columns: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The loss of the reference."""
    coefficients = x.new_empty(0) if coefficients is None else coefficients
    rest = *encode("", derivatives), *residual, coefficients, columns, [False] * 3
    return reference.jet_mlp_loss(x, weights, biases, activation, *rest)[0]
