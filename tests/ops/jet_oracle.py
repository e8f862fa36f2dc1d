"""What the jet ops are tested against, with the arguments of ``pyneural.ops``.

The jet by nested differentiation through torch's own functions, in reverse mode (``nested_jet``)
and in forward mode (``forward_jet``, which works under the transforms of torch.func), shares
nothing with Taylor mode, in which the kernels and the reference are written. ``taylor_jet`` and
``taylor_loss`` are the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

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
    with torch.enable_grad():
        x = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
        u = network_value(x, weights, biases, activation)

        def partial(indices: tuple[int, ...]) -> Tensor:
            if not indices:
                return u
            lower = partial(indices[:-1])
            columns = [_gradient(column, x)[:, indices[-1]] for column in lower.unbind(1)]
            return torch.stack(columns, 1)

        return (u, *(_sum_of_partials(derivative, partial) for derivative in derivatives))


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

    def partial(indices: tuple[int, ...]) -> Tensor:
        def value(x: Tensor) -> Tensor:
            return network_value(x, weights, biases, activation)

        function: Callable[[Tensor], Tensor] = value
        for index in indices:
            function = _derivative(function, index)
        return function(x)

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


def mean_square(residual: Callable, jet: Tensor, x: Tensor, coefficients: Tensor) -> Tensor:
    """The loss of a residual as ``record_residual`` takes it, evaluated on tensors.

    jet [1 + K, N, O], x [N, D], coefficients [Q].
    """
    results = residual(jet.movedim(2, 1), x.T, coefficients)
    several = results if isinstance(results, tuple) else (results,)
    residuals = [torch.as_tensor(r, dtype=x.dtype, device=x.device) for r in several]
    return sum((r.expand(len(x)).square().mean() for r in residuals), start=x.new_zeros(()))


def taylor_jet(*arguments: Any) -> tuple[Tensor, ...]:
    """(u, *derivatives) of the reference."""
    *network, derivatives = arguments
    return reference.jet_mlp(*network, *encode("", derivatives)).unbind()


def taylor_loss(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str,
    derivatives: Sequence[Derivative], residual: ResidualProgram,
    coefficients: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The loss of the reference."""
    coefficients = x.new_empty(0) if coefficients is None else coefficients
    plan = *encode("", derivatives), *residual
    return reference.jet_mlp_loss(x, weights, biases, activation, *plan, coefficients, False)[0]
