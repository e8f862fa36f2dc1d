"""The ops of residuals under autograd and torch.compile, as ``autograd.py`` has it for the jet.

The first backward of the residuals is a kernel; every other derivative, and those of the Jacobian
and of its Gram matrix, are the reference's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from pyneural.ops import reference
from pyneural.ops.jet.autograd import loss_arguments, parameter_count, parameter_parts
from pyneural.ops.jet.residual import RESIDUAL
from pyneural.ops.registration import (
    empty_gradients,
    register_autograd,
    register_derivative,
    register_reference,
)

_OPS = torch.ops.pyneural

# The shapes of results. Arguments are checked by the kernels.


def _equations(residual: Sequence[int]) -> int:
    return list(residual[::3]).count(RESIDUAL)


def _fake(x, weights, biases, *options):
    *_, residual, _constants, _coefficients, _columns = options
    return x.new_empty(_equations(residual), x.shape[-2])


def _fake_backward(grad_output, x, weights, biases, *options):
    *_, coefficients, columns, (with_x, with_parameters, with_columns) = options
    of_columns = 0 if columns is None else columns.shape
    shapes = x.shape, parameter_count(weights, biases), coefficients.numel(), of_columns
    wanted = with_x, with_parameters, with_parameters, with_columns
    return tuple(empty_gradients(x, shapes, wanted))


def _fake_jacobian(x, weights, biases, *options):
    residuals = _fake(x, weights, biases, *options)
    rows = parameter_count(weights, biases) + options[-2].numel()
    return residuals, x.new_empty(rows, *residuals.shape)


def _fake_gram(x, weights, biases, *options):
    rows = parameter_count(weights, biases) + options[-2].numel()
    return x.new_empty(()), x.new_empty(rows), x.new_empty(rows, rows)


register_reference("jet_mlp_residual", reference.jet_mlp_residual, _fake)
jet_mlp_residual_backward = register_derivative(
    "jet_mlp_residual_backward", reference.jet_mlp_residual_backward, _fake_backward
)
jet_mlp_residual_jacobian = register_derivative(
    "jet_mlp_residual_jacobian", reference.jet_mlp_residual_jacobian, _fake_jacobian
)
jet_mlp_gram = register_derivative("jet_mlp_gram", reference.jet_mlp_gram, _fake_gram)


class _Residual(Function):
    """(options, x, *weights, *biases, *others) to the residuals [E, N].

    others: the coefficients and, where they are given, the columns. options: the number of layers
    and of the others, then the arguments of the op from the activation to the constants.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(options: tuple, x: Tensor, *p: Tensor) -> Tensor:
        return _OPS.jet_mlp_residual(*loss_arguments(options, x, p))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.options, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple:
        x, *p = ctx.saved_tensors
        layers, count, *_ = ctx.options
        needs_x, *needs_p = ctx.needs_input_grad[1:]
        mask = needs_x, any(needs_p[: 2 * layers + 1]), any(needs_p[2 * layers + 1 :])
        op = (
            jet_mlp_residual_backward if torch.is_grad_enabled() else _OPS.jet_mlp_residual_backward
        )
        arguments = *loss_arguments(ctx.options, x, p), mask
        grad_x, flat, *of_others = op(grad_output, *arguments)
        parts: list[Tensor | None] = [None] * (2 * layers)
        if mask[1]:
            parts = [*parameter_parts(flat, p[:layers], p[layers:-count])]
        others = [g if has else None for g, has in zip(of_others, mask[1:], strict=True)]
        return None, grad_x if needs_x else None, *parts, *others[:count]


def jet_mlp_residual(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *options: Any
) -> Tensor:
    """The op of this name under autograd, with the arguments of its schema."""
    *plan, coefficients, columns = options
    others = (coefficients,) if columns is None else (coefficients, columns)
    return _Residual.apply((len(weights), len(others), *plan), x, *weights, *biases, *others)


register_autograd("jet_mlp_residual", jet_mlp_residual)
