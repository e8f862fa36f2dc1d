"""The residuals of an equation, their Jacobian and its Gram matrix, in plain torch.

The arguments are those of the ops' schemas. Letters: N points, O outputs, K derivatives, E
equations, P parameters, Q coefficients, R columns, M = P + Q. The jet and its Jacobian are those
``by`` a module of ``jet_mlp`` and ``jet_mlp_jacobian``: the reference, or the ops themselves on
devices that have kernels for these two alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.ops.jet.derivatives import decode
from pyneural.ops.jet.residual import evaluate_residual
from pyneural.ops.reference import jet
from pyneural.ops.reference.mlp import flat
from pyneural.ops.vjp import gradients

_CHUNK = 1 << 24  # elements of the jet's Jacobian that the Gram matrix has at a time


def jet_mlp_residual(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *options: Any, by: Any = jet,
    op: str = "jet_mlp_residual",
) -> Tensor:  # fmt: skip
    """The residuals, [E, N].

    >>> x, weights, biases = torch.ones(4, 2), [torch.ones(1, 2)], [torch.ones(1)]
    >>> u = [4, 0, 0, 0, 0, 0]  # channel 0 0; residual 0
    >>> jet_mlp_residual(x, weights, biases, "tanh", [], [], u, [], torch.ones(0), None)
    tensor([[3., 3., 3., 3.]])
    """
    *plan, residual, constants, coefficients, columns = options
    channels = by.jet_mlp(x, weights, biases, *plan)
    program = residual, constants
    return torch.stack(evaluate_residual(*program, channels, x, coefficients, columns, op=op))


def jet_mlp_residual_backward(
    grad_output: Tensor, x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor],
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients for x, all parameters [P], the coefficients [Q] and the columns [R, N].

    Of the mask, the last option, the first element is for x, the second for parameters and
    coefficients, the third for columns; [0] is returned for what is not wanted.
    """
    *others, coefficients, columns, (with_x, with_parameters, with_columns) = options
    layers = len(weights)

    def residuals(x: Tensor, coefficients: Tensor, columns: Any, *p: Tensor) -> Tensor:
        return jet_mlp_residual(x, p[:layers], p[layers:], *others, coefficients, columns)

    tensors = x, coefficients, columns, *weights, *biases
    wanted = with_x, with_parameters, with_columns, *(with_parameters,) * (2 * layers)
    empty = x.new_empty(0)
    found = gradients(residuals, tensors, [grad_output], wanted, empty)
    grad_x, grad_coefficients, grad_columns, *grads = found
    of_parameters = flat(grads[:layers], grads[layers:]) if with_parameters else empty
    return grad_x, of_parameters, grad_coefficients, grad_columns


def jet_mlp_residual_jacobian(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *options: Any, by: Any = jet,
    op: str = "jet_mlp_residual_jacobian",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The residuals [E, N] and their gradients for parameters and coefficients, [M, E, N].

        d r_e / d theta = sum_k (d r_e / d channel k) (d channel k / d theta)

    >>> x, weights, biases = torch.full((2, 1), 3.0), [torch.ones(1, 1)], [torch.ones(1)]
    >>> u = [4, 0, 0, 0, 0, 0]  # channel 0 0; residual 0
    >>> rest = "tanh", [], [], u, [], torch.ones(0), None
    >>> jet_mlp_residual_jacobian(x, weights, biases, *rest)[1][:, 0]
    tensor([[3., 3.],
            [1., 1.]])
    """
    *plan, residual, constants, coefficients, columns = options
    points = x.shape[-2]

    def residuals(channels: Tensor, coefficients: Tensor) -> tuple[Tensor, ...]:
        program = residual, constants
        found = evaluate_residual(*program, channels, x, coefficients, columns, op=op)
        return tuple(r.expand(points) for r in found)

    channels = by.jet_mlp(x, weights, biases, *plan)
    of_channels = by.jet_mlp_jacobian(x, weights, biases, *plan)  # [N, (1 + K) O, P]
    of_points = coefficients.unsqueeze(1).expand(-1, points)  # each point's own coefficients
    values, pullback = torch.func.vjp(residuals, channels, of_points)[:2]
    blocks = []
    for e in range(len(values)):
        ones = tuple(torch.full_like(r, float(i == e)) for i, r in enumerate(values))
        factors, of_coefficients = pullback(ones)  # [1 + K, N, O], [Q, N]
        factors = factors.movedim(1, 0).flatten(1)
        blocks.append(
            torch.cat([torch.einsum("nkp,nk->pn", of_channels, factors), of_coefficients])
        )
    return torch.stack(values), torch.stack(blocks, 1)


def jet_mlp_gram(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *options: Any, by: Any = jet,
    op: str = "jet_mlp_gram",
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The mean square r^T r / N [], J^T r / N [M] and J^T J / N [M, M]; sums in float64.

    >>> x, weights, biases = torch.full((2, 1), 3.0), [torch.ones(1, 1)], [torch.ones(1)]
    >>> u = [4, 0, 0, 0, 0, 0]  # channel 0 0; residual 0
    >>> jet_mlp_gram(x, weights, biases, "tanh", [], [], u, [], torch.ones(0), None)[2]
    tensor([[9., 3.],
            [3., 1.]])
    """
    *others, coefficients, columns = options
    points, parameters = x.shape[-2], sum(p.numel() for p in (*weights, *biases))
    channels = (1 + len(decode(*others[1:3]))) * weights[-1].shape[0]
    chunk = max(1, _CHUNK // max(1, channels * parameters))
    size = parameters + coefficients.numel()
    loss = x.new_zeros((), dtype=torch.float64)
    gradient = x.new_zeros(size, dtype=torch.float64)
    gram = x.new_zeros(size, size, dtype=torch.float64)
    for begin in range(0, points, chunk):
        part = x[..., begin : begin + chunk, :]
        of_part = None if columns is None else columns[:, begin : begin + chunk]
        arguments = part, weights, biases, *others, coefficients, of_part
        r, transposed = jet_mlp_residual_jacobian(*arguments, by=by, op=op)
        r, transposed = r.flatten().double(), transposed.flatten(1).double()
        loss = loss + r @ r
        gradient = gradient + transposed @ r
        gram = gram + transposed @ transposed.T
    return (loss / points).to(x), (gradient / points).to(x), (gram / points).to(x)
