"""The jet ops under autograd: one ``torch.autograd.Function`` an op, over flat tensors.

The Python face of the ops applies them directly, which torch.func needs; the dispatcher's autograd
key applies them for everything that meets the op itself, such as torch.compile. The first backward
of the jet and of the loss is a kernel. Every other derivative is that of the reference, by
torch.func.vjp, and can be differentiated again. None has a jvp: forward mode takes the reference
from the start (``jet.py``), since torch.compile refuses Functions with a jvp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from pyneural.ops import reference
from pyneural.ops.derivatives import decode

_OPS = torch.ops.pyneural
_LIBRARY = torch.library.Library("pyneural", "IMPL")


class _Op(Function):
    """A function of (options, *tensors) whose derivatives need all of them."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.options, *tensors = inputs
        ctx.save_for_backward(*tensors)


class _Jet(_Op):
    """x, *weights, *biases to the jet [1 + K, N, O]."""

    @staticmethod
    def forward(options: tuple, x: Tensor, *p: Tensor) -> Tensor:
        layers, *rest = options
        return _OPS.jet_mlp(x, p[:layers], p[layers:], *rest)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple:
        x, *p = ctx.saved_tensors
        layers, activation, derivatives = ctx.options
        weights, biases = p[:layers], p[layers:]
        needs_x, *needs_p = ctx.needs_input_grad[1:]
        mask = needs_x, any(needs_p)
        arguments = grad_output, x, weights, biases, activation
        if torch._C._functorch.is_legacy_batchedtensor(grad_output):
            # torch.autograd.grad(is_grads_batched=True) knows no ops with lists of tensors.
            grad_x, flat = reference.jet_mlp_backward(*arguments, decode(derivatives), mask)
        elif torch.is_grad_enabled():
            grad_x, flat = jet_mlp_backward(*arguments, derivatives, mask)
        else:
            grad_x, flat = _OPS.jet_mlp_backward(*arguments, derivatives, mask)
        grads = _parts(flat, weights, biases) if mask[1] else [None] * len(p)
        return None, grad_x if needs_x else None, *grads


class _JetBackward(_Op):
    """grad_output, x, *weights, *biases to grad_x and grad_parameters."""

    @staticmethod
    def forward(options: tuple, grad_output: Tensor, x: Tensor, *p: Tensor) -> tuple:
        layers, *rest = options
        return _OPS.jet_mlp_backward(grad_output, x, p[:layers], p[layers:], *rest)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        layers, activation, derivatives, mask = ctx.options

        def backward(grad_output: Tensor, x: Tensor, *p: Tensor) -> tuple[Tensor, Tensor]:
            rest = activation, decode(derivatives), mask
            return reference.jet_mlp_backward(grad_output, x, p[:layers], p[layers:], *rest)

        return None, *torch.func.vjp(backward, *ctx.saved_tensors)[1](grads)


class _Jacobian(_Op):
    """x, *weights, *biases to the gradients of every point's channels, [N, (1 + K) O, P]."""

    @staticmethod
    def forward(options: tuple, x: Tensor, *p: Tensor) -> Tensor:
        layers, *rest = options
        return _OPS.jet_mlp_jacobian(x, p[:layers], p[layers:], *rest)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        layers, activation, derivatives = ctx.options

        def jacobian(x: Tensor, *p: Tensor) -> Tensor:
            rest = activation, decode(derivatives)
            return reference.jet_mlp_jacobian(x, p[:layers], p[layers:], *rest)

        return None, *torch.func.vjp(jacobian, *ctx.saved_tensors)[1](grad)


class _Loss(_Op):
    """x, *weights, *biases, coefficients to the loss, grad_parameters, grad_coefficients.

    With the gradients as outputs the loss's derivative is a product with them, and its second
    derivative is theirs.
    """

    @staticmethod
    def forward(options: tuple, x: Tensor, *p: Tensor) -> tuple:
        layers, *rest, gradient = options
        return _OPS.jet_mlp_loss(x, p[:layers], p[layers:-1], *rest, p[-1], gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.options, *tensors = inputs
        ctx.save_for_backward(*tensors, *output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *grads: Tensor | None) -> tuple:
        *tensors, flat, grad_coefficients = ctx.saved_tensors
        layers, activation, derivatives, residual, gradient = ctx.options
        needs_x, second = ctx.needs_input_grad[1], any(g is not None for g in grads)
        if gradient and grad is not None and not needs_x and not second:
            parts = _parts(grad * flat, tensors[1 : 1 + layers], tensors[1 + layers : -1])
            return None, None, *parts, grad * grad_coefficients

        def loss(x: Tensor, *p: Tensor) -> tuple[Tensor, ...]:
            arguments = x, p[:layers], p[layers:-1], activation, decode(derivatives), residual
            if second:
                return reference.jet_mlp_loss_and_gradient(*arguments, p[-1])
            return (reference.jet_mlp_loss(*arguments, p[-1]),)

        outputs, pullback = torch.func.vjp(loss, *tensors)[:2]
        given = [
            torch.zeros_like(output) if g is None else g
            for output, g in zip(outputs, (grad, *grads), strict=False)
        ]
        return None, *pullback(tuple(given))


def _parts(flat: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[Tensor]:
    """A flat gradient [P] as views of the shapes of *weights, *biases."""
    sizes = [p.numel() for pair in zip(weights, biases, strict=True) for p in pair]
    parts = flat.split(sizes)
    by_weights = [part.view(weight.shape) for part, weight in zip(parts[::2], weights, strict=True)]
    return [*by_weights, *parts[1::2]]


def jet_mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: str,
) -> Tensor:
    """The op of this name under autograd, by its schema in csrc/library.cpp."""
    return _Jet.apply((len(weights), activation, derivatives), x, *weights, *biases)


def jet_mlp_backward(
    grad_output: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: str,
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    """The op of this name under autograd, by its schema in csrc/library.cpp."""
    options = len(weights), activation, derivatives, output_mask
    return _JetBackward.apply(options, grad_output, x, *weights, *biases)


def jet_mlp_jacobian(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: str,
) -> Tensor:
    """The op of this name under autograd, by its schema in csrc/library.cpp."""
    return _Jacobian.apply((len(weights), activation, derivatives), x, *weights, *biases)


def jet_mlp_loss(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: str,
    residual: str,
    coefficients: Tensor,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The op of this name under autograd, by its schema in csrc/library.cpp."""
    options = len(weights), activation, derivatives, residual, with_gradient
    return _Loss.apply(options, x, *weights, *biases, coefficients)


def _register(name: str, differentiable: Callable) -> None:
    op = getattr(_OPS, name).default

    def autograd(*args: Any) -> Any:
        if torch.is_grad_enabled():
            return differentiable(*args)
        with torch._C._AutoDispatchBelowAutograd():
            return op(*args)

    _LIBRARY.impl(name, autograd, "Autograd")


_register("jet_mlp", jet_mlp)
_register("jet_mlp_backward", jet_mlp_backward)
_register("jet_mlp_jacobian", jet_mlp_jacobian)
_register("jet_mlp_loss", jet_mlp_loss)
