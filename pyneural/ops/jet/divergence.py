"""Divergence of a vector field that is a multilayer perceptron.

Letters: N points, D coordinates, which are inputs and outputs alike, H_l units of layer l.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyneural.errors import ArgumentError, check_argument
from pyneural.ops import activations
from pyneural.ops.jet.functional import in_full_precision, jet_mlp

_CHANNELS = 64  # of one pass of jet_mlp, which takes 127 at most


@in_full_precision
def mlp_divergence(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str
) -> tuple[Tensor, Tensor]:
    """Value and divergence of a multilayer perceptron from R^D to R^D.

        u = W_L a_(L-1) + b_L,  a_l = f(z_l),  z_l = W_l a_(l-1) + b_l,  a_0 = x
        div u = tr(du/dx) = tr(W_L diag f'(z_(L-1)) W_(L-1) ... diag f'(z_1) W_1)

    The trace is a sum over the units, whatever D is, where there are no more than two hidden
    layers,

        one:  div u = f'(z_1)^T diag(W_1 W_2)
        two:  div u = f'(z_2)^T (W_2 * (W_1 W_3)^T) f'(z_1),  * elementwise,

    which is one product more than the value takes. Deeper networks take D first derivatives through
    ``jet_mlp``. This is the rate of change of log p along the path of a continuous normalizing flow
    (Chen et al. 2018, "Neural ordinary differential equations"), and the trace in the loss of
    ``score_matching_loss``. Gradients reach x, weights and biases, to any order.

    Args:
        x: points, [N, D], float32 or float64.
        weights: L tensors [out_l, in_l], from D inputs to D outputs.
        biases: L tensors [out_l]; the first may be [N, out_1], one for each point, by which a time
            or a condition enters that no derivative is taken for.
        activation: f, as in ``dense``.

    Returns:
        u [N, D] and div u [N], in units of u over those of x.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match, as many outputs as inputs among
            them, or an unknown activation.

    Example:
        >>> x, turn = torch.randn(5, 2), torch.tensor([[0.5, -1.0], [1.0, 0.5]])
        >>> u, divergence = mlp_divergence(x, [turn], [torch.zeros(2)], "tanh")
        >>> divergence  # a rotation that grows
        tensor([1., 1., 1., 1., 1.])
    """
    _check(x, weights, biases)
    activations.check_activation("mlp_divergence", activation)
    first, last = weights[0], weights[-1]
    if len(weights) > 3:
        return _by_jet(x, weights, biases, activation)
    z = linear(x, first) + biases[0]
    if len(weights) == 1:
        return z, first.diagonal().sum().expand(len(x))
    a, slope = activations.derivatives(activation, z, 1)
    if len(weights) == 2:
        return linear(a, last, biases[1]), slope @ (first * last.T).sum(1)
    z = linear(a, weights[1], biases[1])
    a, outer_slope = activations.derivatives(activation, z, 1)
    inner = linear(slope, weights[1] * (first @ last).T)
    return linear(a, last, biases[2]), (outer_slope * inner).sum(-1)


def _by_jet(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str
) -> tuple[Tensor, Tensor]:
    """The sum of the D derivatives du_i/dx_i, a channel of ``jet_mlp`` each."""
    dimension = x.shape[1]
    if biases[0].dim() == 2:  # as further inputs, which the jet has no derivatives for
        first = torch.cat([weights[0], torch.eye(len(weights[0])).to(weights[0])], 1)
        x, weights = torch.cat([x, biases[0]], 1), [first, *weights[1:]]
        biases = [biases[0].new_zeros(len(first)), *biases[1:]]
    divergence = x.new_zeros(len(x))
    for start in range(0, dimension, _CHANNELS):
        inputs = range(start, min(start + _CHANNELS, dimension))
        u, *columns = jet_mlp(x, weights, biases, activation, [(i,) for i in inputs])
        for i, column in zip(inputs, columns, strict=True):
            divergence = divergence + column[:, i]
    return u, divergence


def _check(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
    """ArgumentError unless the arguments are a network from D inputs to D outputs."""

    def expect(is_good: bool, name: str, expected: str, got: object, remedy: str) -> None:
        if not is_good:
            raise ArgumentError(f"mlp_divergence: {name}: expected {expected}, got {got}; {remedy}")

    def alike(name: str, tensor: Tensor) -> None:
        found = tensor.dtype, tensor.device
        remedy = "move it with .to(x)"
        expect(found == (x.dtype, x.device), name, f"{x.dtype} on {x.device}", found, remedy)

    expect(x.dim() == 2, "x", "shape [points, D]", list(x.shape), "a single point is x[None]")
    known = x.dtype in (torch.float32, torch.float64)
    expect(known, "x", "float32 or float64", x.dtype, "convert it with x.float()")
    _check_sequence("weights", weights, "give [out, in] tensors")
    _check_sequence("biases", biases, "give every layer a bias, zeros where it has none")
    count = len(weights)
    expect(count > 0, "weights", "at least one layer", "none", "give [out, in] tensors")
    remedy = "give every layer a bias"
    expect(len(biases) == count, "biases", f"{count} as there are weights", len(biases), remedy)
    width = x.shape[1]
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        name, shape = f"weights[{layer}]", list(weight.shape)
        remedy = "a layer's inputs are the outputs of the one before"
        expect(len(shape) == 2 and shape[1] == width, name, f"[outputs, {width}]", shape, remedy)
        alike(name, weight)
        name, width = f"biases[{layer}]", shape[0]
        shapes = [[width], *([[len(x), width]] if layer == 0 else [])]
        expected = " or ".join(map(str, shapes))
        expect(list(bias.shape) in shapes, name, expected, list(bias.shape), "one for each output")
        alike(name, bias)
    remedy = "a divergence is that of a field, whose outputs are rates of its inputs"
    outputs = f"{x.shape[1]} outputs as x has columns"
    expect(width == x.shape[1], f"weights[{count - 1}]", outputs, width, remedy)


def _check_sequence(name: str, tensors: Any, remedy: str) -> None:
    """ArgumentError unless they are a list of tensors, or what is read as one."""
    where, good = f"mlp_divergence: {name}", hasattr(tensors, "__len__")
    check_argument(good, where, "a list of tensors", type(tensors).__name__, remedy)
    for layer, tensor in enumerate(tensors):
        got = type(tensor).__name__
        check_argument(isinstance(tensor, Tensor), f"{where}[{layer}]", "a tensor", got, remedy)
