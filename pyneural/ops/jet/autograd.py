"""The jet ops under autograd and torch.compile: Functions over flat tensors, and registration.

The Python face of the ops applies the Functions directly, which torch.func needs; the dispatcher's
autograd key applies them for everything that calls the op itself, such as torch.compile. The first
backward of the jet and of the loss is a kernel, every other derivative that of the reference. None
has a jvp: forward mode takes the reference from the start (``functional.py``), since torch.compile
refuses Functions with a jvp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from pyneural.ops import reference
from pyneural.ops.jet.derivatives import decode
from pyneural.ops.registration import (
    empty_gradients,
    register_autograd,
    register_derivative,
    register_reference,
)

_OPS = torch.ops.pyneural


# The shapes of results. Arguments are checked by the kernels; only what a shape needs must exist.


def _outputs(weights: Sequence[Tensor]) -> int:
    if not weights:
        raise ValueError("jet_mlp: weights: expected at least one layer, got none")
    return weights[-1].shape[0]


def parameter_count(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> int:
    """P."""
    return sum(p.numel() for p in (*weights, *biases))


def _fake(x, weights, biases, activation, *plan):
    return x.new_empty(1 + len(decode(*plan)), x.shape[-2], _outputs(weights))


def _fake_backward(grad_output, x, weights, biases, *options):
    return tuple(empty_gradients(x, (x.shape, parameter_count(weights, biases)), options[-1]))


def _fake_jacobian(x, weights, biases, activation, *plan):
    channels = (1 + len(decode(*plan))) * _outputs(weights)
    return x.new_empty(x.shape[-2], channels, parameter_count(weights, biases))


def _fake_loss(x, weights, biases, *options):
    *_, coefficients, columns, (with_x, with_parameters, with_columns) = options
    of_columns = 0 if columns is None else columns.shape
    shapes = (), x.shape, parameter_count(weights, biases), coefficients.numel(), of_columns
    wanted = True, with_x, with_parameters, with_parameters, with_columns
    return tuple(empty_gradients(x, shapes, wanted))


register_reference("jet_mlp", reference.jet_mlp, _fake)
register_reference("jet_mlp_loss", reference.jet_mlp_loss, _fake_loss)
jet_mlp_backward = register_derivative(
    "jet_mlp_backward", reference.jet_mlp_backward, _fake_backward
)
jet_mlp_jacobian = register_derivative(
    "jet_mlp_jacobian", reference.jet_mlp_jacobian, _fake_jacobian
)


class _Jet(Function):
    """(options, x, *weights, *biases) to the jet [1 + K, N, O].

    options: the number of layers, then the arguments of the op after the biases.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(options: tuple, x: Tensor, *p: Tensor) -> Tensor:
        layers, *plan = options
        return _OPS.jet_mlp(x, p[:layers], p[layers:], *plan)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.options, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple:
        x, *p = ctx.saved_tensors
        layers, *plan = ctx.options
        weights, biases = p[:layers], p[layers:]
        needs_x, *needs_p = ctx.needs_input_grad[1:]
        mask = needs_x, any(needs_p)
        backward = jet_mlp_backward if torch.is_grad_enabled() else _OPS.jet_mlp_backward
        grad_x, flat = backward(grad_output, x, weights, biases, *plan, mask)
        grads = parameter_parts(flat, weights, biases) if mask[1] else [None] * len(p)
        return None, grad_x if needs_x else None, *grads


class _Loss(Function):
    """(options, x, *weights, *biases, *others) to the loss and its gradients.

    others: the coefficients and, where they are given, the columns. options: the number of layers
    and of the others, the arguments of the op from the activation to the constants, the mask. With
    the gradients as outputs the loss's derivative is a product with them, and its second derivative
    is theirs.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(options: tuple, x: Tensor, *p: Tensor) -> tuple:
        return _OPS.jet_mlp_loss(*loss_arguments(options[:-1], x, p), options[-1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.options, *tensors = inputs
        ctx.save_for_backward(*tensors, *output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *grads: Tensor | None) -> tuple:
        saved, (layers, count, *plan, mask) = ctx.saved_tensors, ctx.options
        (x, *p), (grad_x, flat, *of_others) = saved[:-4], saved[-4:]
        needs_x, *needs_p = ctx.needs_input_grad[1:]
        needed = needs_x, any(needs_p[: 2 * layers + 1]), any(needs_p[2 * layers + 1 :])
        is_there = all(has or not needs for has, needs in zip(mask, needed, strict=True))
        is_second = any(g is not None for g in grads)
        if grad is not None and is_there and not is_second:
            parts: list[Tensor | None] = [None] * (2 * layers)
            if mask[1]:
                parts = [*parameter_parts(grad * flat, p[:layers], p[layers:-count])]
            scaled = [
                grad * other if has else None
                for other, has in zip(of_others, mask[1:], strict=True)
            ]
            return None, grad * grad_x if mask[0] else None, *parts, *scaled[:count]

        def loss(x: Tensor, *p: Tensor) -> tuple[Tensor, ...]:
            arguments = loss_arguments((layers, count, *plan), x, p)
            return reference.jet_mlp_loss(*arguments, mask if is_second else (False,) * 3)

        outputs, pullback = torch.func.vjp(loss, x, *p)[:2]
        given = [
            torch.zeros_like(output) if g is None or g.shape != output.shape else g
            for output, g in zip(outputs, (grad, *grads), strict=True)
        ]
        return None, *pullback(tuple(given))


def loss_arguments(options: tuple, x: Tensor, p: Sequence[Tensor]) -> tuple:
    """The arguments of an op of residuals, but for a mask, from those of its Function.

    options: the number of layers, that of the tensors beyond the network, and the arguments from
    the activation to the constants.
    """
    layers, count, *plan = options
    coefficients, *columns = p[-count:]
    others = coefficients, columns[0] if columns else None
    return x, p[:layers], p[layers:-count], *plan, *others


def parameter_parts(
    flat: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> list[Tensor]:
    """A flat gradient [P] as views of the shapes of *weights, *biases."""
    sizes = [p.numel() for pair in zip(weights, biases, strict=True) for p in pair]
    parts = flat.split(sizes)
    of_weights = [part.view(weight.shape) for part, weight in zip(parts[::2], weights, strict=True)]
    return [*of_weights, *parts[1::2]]


def jet_mlp(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *plan: Any) -> Tensor:
    """The op of this name under autograd, with the arguments of its schema."""
    return _Jet.apply((len(weights), *plan), x, *weights, *biases)


def jet_mlp_loss(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *options: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The op of this name under autograd, with the arguments of its schema."""
    *plan, coefficients, columns, mask = options
    others = (coefficients,) if columns is None else (coefficients, columns)
    called = len(weights), len(others), *plan, tuple(mask)
    return _Loss.apply(called, x, *weights, *biases, *others)


register_autograd("jet_mlp", jet_mlp)
register_autograd("jet_mlp_loss", jet_mlp_loss)
