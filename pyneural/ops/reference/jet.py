"""The jet ops in plain torch: what the kernels are tested against, and their higher derivatives.

Two ways to the jet that share nothing: nested reverse mode, and Taylor mode. The others build on
Taylor mode and, like it, work under torch.func and torch.compile and can be differentiated again.
Arguments and results are those of ``pyneural.ops``; letters: N points, D inputs, O outputs, K
derivatives, P parameters, Q coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyneural.ops import taylor
from pyneural.ops.activations import VALUES
from pyneural.ops.derivatives import Derivative, LinearOperator
from pyneural.ops.residual import residual_program


def jet_mlp_nested(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Sequence[Derivative],
) -> tuple[Tensor, ...]:
    """(u, *derivatives), each [N, O], by one reverse pass an order and output, nested.

    Not for torch.func transforms: it calls autograd itself.

    >>> x, weight = torch.tensor([[3.0]]), torch.tensor([[1.0]])
    >>> weights, biases = [weight, weight], [torch.zeros(1), torch.zeros(1)]
    >>> u, u_xx = jet_mlp_nested(x, weights, biases, "sin", [(0, 0)])
    >>> bool(torch.isclose(u_xx, -u))
    True
    """
    with torch.enable_grad():
        x = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
        u = x
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            u = VALUES[activation](linear(u, weight, bias))
        u = linear(u, weights[-1], biases[-1])

        def partial(indices: tuple[int, ...]) -> Tensor:
            if not indices:
                return u
            lower = partial(indices[:-1])
            columns = [_gradient(column, x)[:, indices[-1]] for column in lower.unbind(1)]
            return torch.stack(columns, 1)

        def derivative(asked: Derivative) -> Tensor:
            if isinstance(asked, LinearOperator):
                return torch.stack([c * partial(indices) for indices, c in asked.partials]).sum(0)
            return partial(asked)

        return (u, *map(derivative, derivatives))


def _gradient(column: Tensor, x: Tensor) -> Tensor:
    """Gradient [N, D] of a column [N] each row of which depends on its own point alone."""
    if not column.requires_grad:
        return torch.zeros_like(x)
    grads = torch.autograd.grad(
        column.sum(), x, create_graph=True, allow_unused=True, materialize_grads=True
    )
    return grads[0]


def jet_mlp_taylor(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Sequence[Derivative],
) -> tuple[Tensor, ...]:
    """(u, *derivatives), each [N, O], by Taylor mode in plain torch.

    >>> x, weight = torch.tensor([[3.0]]), torch.tensor([[1.0]])
    >>> weights, biases = [weight, weight], [torch.zeros(1), torch.zeros(1)]
    >>> u, u_xx = jet_mlp_taylor(x, weights, biases, "sin", [(0, 0)])
    >>> bool(torch.isclose(u_xx, -u))
    True
    """
    return taylor.jet(x, weights, biases, activation, tuple(derivatives))


def jet_mlp_backward(
    grad_output: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Sequence[Derivative],
    output_mask: Sequence[bool] = (True, True),
) -> tuple[Tensor, Tensor]:
    """Gradients of the jet [1 + K, N, O]: grad_x [N, D] and grad_parameters [P].

    Parameters are flat in the order weights[0], biases[0], weights[1], ...; an unwanted gradient
    is an empty tensor [0].
    """
    layers = len(weights)

    def jet(x: Tensor, *parameters: Tensor) -> Tensor:
        parts = parameters[:layers], parameters[layers:]
        return torch.stack(jet_mlp_taylor(x, *parts, activation, derivatives))

    pullback = torch.func.vjp(jet, x, *weights, *biases)[1]
    grad_x, *grads = pullback(grad_output)
    empty = x.new_empty(0)
    return (
        grad_x if output_mask[0] else empty,
        _flat(grads[:layers], grads[layers:]) if output_mask[1] else empty,
    )


def jet_mlp_jacobian(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Sequence[Derivative],
) -> Tensor:
    """Gradient of every point's channels with respect to the parameters, [N, (1 + K) O, P].

    >>> x, weights, biases = torch.ones(4, 2), [torch.ones(3, 2)], [torch.ones(3)]
    >>> jet_mlp_jacobian(x, weights, biases, "tanh", [(0,)]).shape
    torch.Size([4, 6, 9])
    """

    def channels(point: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
        return torch.cat(jet_mlp_taylor(point[None], weights, biases, activation, derivatives), 1)[
            0
        ]

    jacobian = torch.func.jacrev(channels, argnums=(1, 2))
    if len(x) == 0:  # which torch.func.vmap refuses
        rows = (1 + len(derivatives)) * len(biases[-1])
        return x.new_empty(0, rows, sum(p.numel() for p in chain(weights, biases)))
    by_weights, by_biases = torch.func.vmap(jacobian, (0, None, None))(x, [*weights], [*biases])
    return _flat(by_weights, by_biases, start_dim=2)


def jet_mlp_loss(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Sequence[Derivative],
    residual: str,
    coefficients: Tensor | None = None,
) -> Tensor:
    """Sum over a program's residuals of their mean squares over the points, [].

    >>> x, weights, biases = torch.ones(4, 2), [torch.ones(1, 2)], [torch.ones(1)]
    >>> jet_mlp_loss(x, weights, biases, "tanh", [], "channel 0 0; residual 0")
    tensor(9.)
    """
    channels = jet_mlp_taylor(x, weights, biases, activation, derivatives)
    numbers = x.new_empty(0) if coefficients is None else coefficients
    return mean_square(residual_program(residual, channels, x, numbers))


def jet_mlp_loss_and_gradient(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Sequence[Derivative],
    residual: str,
    coefficients: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss [] with its gradients, grad_parameters [P] and grad_coefficients [Q]."""

    def loss(weights: list[Tensor], biases: list[Tensor], coefficients: Tensor) -> Tensor:
        return jet_mlp_loss(x, weights, biases, activation, derivatives, residual, coefficients)

    evaluate = torch.func.grad_and_value(loss, argnums=(0, 1, 2))
    (by_weights, by_biases, by_coefficients), value = evaluate([*weights], [*biases], coefficients)
    return value, _flat(by_weights, by_biases), by_coefficients


def mean_square(residuals: Sequence[Tensor]) -> Tensor:
    """Sum over the residuals, each [N], of their mean squares, []."""
    return torch.stack([residual.square().mean() for residual in residuals]).sum()


def _flat(weights: Sequence[Tensor], biases: Sequence[Tensor], start_dim: int = 0) -> Tensor:
    """Parameter gradients joined in the order of the ops; dimensions before start_dim stay."""
    pairs = chain.from_iterable(zip(weights, biases, strict=True))
    return torch.cat([part.reshape(*part.shape[:start_dim], -1) for part in pairs], start_dim)
