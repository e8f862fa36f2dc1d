"""Whole multilayer perceptron in one call; its autograd is in ``csrc/mlp/mlp_autograd.cpp``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.calls import by_kernel
from pyneural.ops.registration import empty_gradients, register_derivative, register_reference


def mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    final_activation: str = "linear",
) -> Tensor:
    """Multilayer perceptron.

        a_0 = x,  a_l = f(W_l a_(l-1) + b_l) for l < L,  y = g(W_L a_(L-1) + b_L)

    A block of rows goes through all layers while its activations are in the cache. Only x and the
    parameters are saved for the backward, which computes the activations anew: memory grows with N,
    not with N x width x depth. A network wider than 128, or deeper than 64 layers, goes layer by
    layer through ``dense`` and saves its activations. Gradients reach x, weights and biases, to any
    order: the first backward is a kernel, further ones are torch's own.

    Args:
        x: [N, I], float32 or float64; a network that goes layer by layer may be of any dtype
            that ``dense`` takes.
        weights: L tensors [out_l, in_l].
        biases: L tensors [out_l].
        activation: f of the hidden layers, as in ``dense``.
        final_activation: g of the last layer.

    Returns:
        y, [N, O].

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match, or an unknown activation.

    Example:
        >>> import torch
        >>> weights, biases = [torch.tensor([[1.0], [-1.0]]), torch.ones(1, 2)], [torch.zeros(2)]
        >>> mlp(torch.tensor([[-3.0]]), weights, [*biases, torch.ones(1)], "relu")  # |x| + 1
        tensor([[4.]])
    """
    return _mlp(x, weights, biases, activation, final_activation)


_mlp = by_kernel("mlp", reference.mlp, operands=(0, 1, 2))


def _fake(x, weights, *_):
    return x.new_empty(x.shape[0], weights[-1].shape[0])


def _fake_backward(grad_y, x, weights, biases, activation, final_activation, output_mask):
    parameters = sum(p.numel() for p in (*weights, *biases))
    return tuple(empty_gradients(x, (x.shape, parameters), output_mask))


register_reference("mlp", reference.mlp, _fake)
register_derivative("mlp_backward", reference.mlp_backward, _fake_backward)
