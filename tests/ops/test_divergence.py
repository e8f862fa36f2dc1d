"""ops.mlp_divergence against the trace of autograd's Jacobian, in all its forms."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops
from pyneural.ops.activations import NAMES
from tests.ops import by_torch
from tests.ops.networks import Network, gradients
from tests.tolerances import FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

# No, one, two and three hidden layers; three with several passes of the jet.
WIDTHS = [(3, 3), (3, 7, 3), (1, 6, 5, 1), (4, 7, 6, 4), (3, 6, 5, 4, 3), (65, 3, 2, 3, 65)]


def by_autograd(x, weights, biases, activation):
    """Value and trace of the Jacobian, point by point."""

    def field(point, bias):
        return by_torch.mlp(point[None], weights, [bias, *biases[1:]], activation)[0]

    rows = biases[0].expand(len(x), -1)
    jacobian = torch.func.vmap(torch.func.jacrev(field))(x, rows)
    return torch.func.vmap(field)(x, rows), jacobian.diagonal(dim1=1, dim2=2).sum(1)


def evaluate(function, network, activation, grad_u, grad_divergence):
    network = network.leaves()
    u, divergence = function(*network.parts, activation)
    loss = (u * grad_u).sum() + (divergence**2 * grad_divergence).sum()
    return [u, divergence, *gradients(loss, network, torch.ones_like(loss))]


def random(widths, points, dtype=torch.float64, device="cpu", of_each_point=False):
    network = Network.random(widths, points, dtype, device)
    if of_each_point:
        network.biases[0] = network.biases[0] + 0.1 * network.x.sum(1, keepdim=True)
    generator = torch.Generator().manual_seed(1)
    grads = torch.randn(points, widths[0] + 1, generator=generator, dtype=torch.float64)
    return network, grads[:, :-1].to(device, dtype), grads[:, -1].to(device, dtype)


@pytest.mark.parametrize("of_each_point", [False, True])
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("activation", ["tanh", "elu"])
def test_against_the_jacobian(device, activation, widths, of_each_point):
    network, *grads = random(widths, 9, device=device, of_each_point=of_each_point)
    exact = evaluate(by_autograd, network, activation, *grads)
    for found, one in zip(
        evaluate(ops.mlp_divergence, network, activation, *grads), exact, strict=True
    ):
        assert_close(found, one, FLOAT64_GRADIENT)


@pytest.mark.parametrize("widths", [(3, 7, 3), (3, 7, 6, 3), (3, 6, 5, 4, 3)])
@pytest.mark.parametrize("activation", NAMES)
def test_every_activation_in_float32(device, activation, widths):
    network, *grads = random(widths, 40, torch.float32, device)
    double = network.map(torch.Tensor.double), *(grad.double() for grad in grads)
    exact = evaluate(by_autograd, double[0], activation, *double[1:])
    theirs = evaluate(by_autograd, network, activation, *grads)
    ours = evaluate(ops.mlp_divergence, network, activation, *grads)
    for triple in zip(ours, theirs, exact, strict=True):
        assert_as_good_as_torch(*triple)


@pytest.mark.parametrize("of_each_point", [False, True])
@pytest.mark.parametrize("widths", [(2, 2), (2, 4, 2), (2, 4, 3, 2), (2, 3, 3, 3, 2)])
def test_gradcheck(device, widths, of_each_point):
    network, *_ = random(widths, 3, device=device, of_each_point=of_each_point)
    network = network.leaves()

    def function(*tensors):
        return ops.mlp_divergence(*network.of(tensors).parts, "silu")

    assert torch.autograd.gradcheck(function, network.tensors)
    assert torch.autograd.gradgradcheck(function, network.tensors)


@pytest.mark.parametrize("widths", [(2, 4, 3, 2), (2, 3, 3, 3, 2)])
def test_no_points(device, widths):
    u, divergence = ops.mlp_divergence(*Network.random(widths, 0, device=device).parts, "tanh")
    assert u.shape == (0, 2)
    assert divergence.shape == (0,)


WRONG = {
    "a single point": (lambda x, w, b: (x[0], w, b), r"x: expected shape \[points, D\], got \[2\]"),
    "whole numbers": (lambda x, w, b: (x.long(), w, b), "x: expected float32 or float64, got"),
    "no layers": (lambda x, w, b: (x, [], []), "weights: expected at least one layer"),
    "a bias too few": (lambda x, w, b: (x, w, b[1:]), "biases: expected 2 as there are weights"),
    "a transposed weight": (
        lambda x, w, b: (x, [w[0].T, w[1]], b),
        r"weights\[0\]: expected \[outputs, 2\], got \[2, 4\]; a layer's inputs",
    ),
    "another dtype": (lambda x, w, b: (x.float(), w, b), r"weights\[0\]: expected torch.float32"),
    "a bias of another width": (
        lambda x, w, b: (x, w, [b[1], b[1]]),
        r"biases\[0\]: expected \[4\] or \[3, 4\], got \[2\]; one for each output",
    ),
    "biases of each point beyond the first layer": (
        lambda x, w, b: (x, w, [b[0], b[1].expand(3, -1)]),
        r"biases\[1\]: expected \[2\], got \[3, 2\]",
    ),
    "no biases": (
        lambda x, w, b: (x, w, None),
        "biases: expected a list of tensors, got NoneType; give every layer a bias, zeros where",
    ),
    "a layer without a bias": (
        lambda x, w, b: (x, w, [b[0], None]),
        r"biases\[1\]: expected a tensor, got NoneType; give every layer a bias, zeros where",
    ),
    "no weights": (
        lambda x, w, b: (x, None, b),
        r"weights: expected a list of tensors, got NoneType; give \[out, in\] tensors",
    ),
    "lists of numbers": (
        lambda x, w, b: (x, [w[0].tolist(), w[1]], b),
        r"weights\[0\]: expected a tensor, got list",
    ),
    "more outputs than inputs": (
        lambda x, w, b: (x, [w[0], torch.cat([w[1]] * 2)], [b[0], torch.cat([b[1]] * 2)]),
        r"weights\[1\]: expected 2 outputs as x has columns, got 4; a divergence is",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(device, case):
    change, text = WRONG[case]
    with pytest.raises(ValueError, match="mlp_divergence: " + text):
        ops.mlp_divergence(*change(*Network.random((2, 4, 2), 3, device=device).parts), "tanh")


def test_unknown_activation(device):
    with pytest.raises(ValueError, match=r"mlp_divergence: activation: expected one of .* 'tan'"):
        ops.mlp_divergence(*Network.random((2, 4, 2), 3, device=device).parts, "tan")
