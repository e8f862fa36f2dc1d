"""ops.mlp against plain torch, and under everything that transforms or checks an op."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops import reference
from pyneural.ops.activations import VALUES
from tests.ops.networks import Network, gradients
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

# Off and on every tile; one layer; several blocks of rows and threads; wide; no rows.
CASES = [
    ((1, 1), 1),
    ((3, 2), 30),
    ((2, 20, 20, 1), 333),
    ((5, 16, 64, 17, 3), 250),
    ((70, 130, 9), 40),
    ((2, 64, 64, 1), 3000),
    ((2, 4, 1), 0),
]


def evaluate(function, network, grad_output, *activations):
    network = network.leaves()
    y = function(*network.parts, *activations)
    return [y, *gradients(y, network, grad_output)]


@pytest.mark.parametrize(("widths", "rows"), CASES)
@pytest.mark.parametrize("activations", [("tanh",), ("silu", "sigmoid"), ("relu", "gelu")])
def test_against_torch(device, widths, rows, activations):
    network = Network.random(widths, rows, device=device)
    grad_output = torch.randn(rows, widths[-1], dtype=torch.float64, device=device)
    final = (*activations, "linear")[:2]
    exact = evaluate(reference.mlp, network, grad_output, *final)
    found = evaluate(ops.mlp, network, grad_output, *activations)
    for one, other, limit in zip(found, exact, (FLOAT64, *[FLOAT64_GRADIENT] * 2), strict=True):
        assert_close(one, other, limit)


@pytest.mark.parametrize("activation", VALUES)
def test_every_activation_in_float32(device, activation):
    network = Network.random((6, 33, 20, 4), 150, torch.float32, device)
    grad_output = torch.randn(150, 4, device=device)
    options = activation, activation
    exact = evaluate(reference.mlp, network.map(Tensor.double), grad_output.double(), *options)
    by_torch = evaluate(reference.mlp, network, grad_output, *options)
    for triple in zip(
        evaluate(ops.mlp, network, grad_output, *options), by_torch, exact, strict=True
    ):
        assert_as_good_as_torch(*triple)


def test_only_the_gradients_asked_for(device):
    network = Network.random((3, 8, 5, 2), 20, device=device)
    everything = network.leaves()
    exact = torch.autograd.grad(ops.mlp(*everything.parts, "tanh").sum(), everything.tensors)
    for wanted in range(len(network.tensors)):
        tensors = [t.clone() for t in network.tensors]
        tensors[wanted].requires_grad_()
        y = ops.mlp(*network.of(tensors).parts, "tanh")
        assert torch.equal(torch.autograd.grad(y.sum(), tensors[wanted])[0], exact[wanted])


def test_not_contiguous(device):
    network = Network.random((4, 6, 3), 9, device=device)
    strided = network.map(lambda t: t.repeat_interleave(2, dim=-1)[..., ::2])
    assert not any(t.is_contiguous() for t in strided.tensors)
    assert torch.equal(ops.mlp(*strided.parts, "tanh"), ops.mlp(*network.parts, "tanh"))


@pytest.mark.parametrize("activations", [("tanh", "linear"), ("silu", "sigmoid"), ("relu", "elu")])
def test_gradcheck(device, activations):
    network = Network.random((2, 4, 3, 2), 3, device=device).leaves()

    def function(*tensors):
        return ops.mlp(*network.of(tensors).parts, *activations)

    assert torch.autograd.gradcheck(function, network.tensors)
    assert torch.autograd.gradgradcheck(function, network.tensors)


def test_opcheck(device):
    network = Network.random((2, 4, 2), 3, device=device).leaves()
    torch.library.opcheck(torch.ops.pyneural.mlp.default, (*network.parts, "tanh", "linear"))
    plain = network.map(Tensor.detach)
    grad_y = torch.randn(3, 2, dtype=torch.float64, device=device)
    torch.library.opcheck(
        torch.ops.pyneural.mlp_backward.default,
        (grad_y, *plain.parts, "tanh", "linear", [True, True]),
    )


def test_compile(device):
    network = Network.random((2, 8, 2), 30, device=device)
    grad_output = torch.randn(30, 2, dtype=torch.float64, device=device)
    compiled = torch.compile(ops.mlp, fullgraph=True)
    exact = evaluate(ops.mlp, network, grad_output, "tanh")
    for one, other in zip(evaluate(compiled, network, grad_output, "tanh"), exact, strict=True):
        assert_close(one, other, FLOAT64)


def test_torch_func(device):
    network = Network.random((3, 5, 2), 4, device=device)
    x, weights, biases = network.parts

    def function(t):
        return ops.mlp(t, weights, biases, "tanh")

    jacobian = torch.func.vmap(torch.func.jacrev(lambda t: function(t[None])[0]))(x)
    tangent = torch.randn_like(x)
    exact = (jacobian @ tangent[..., None])[..., 0]
    assert_close(torch.func.jvp(function, (x,), (tangent,))[1], exact, FLOAT64)
    assert_close(jacobian.sum(1), torch.func.grad(lambda t: function(t).sum())(x), FLOAT64)


def test_autocast_stays_in_float32(device):
    network = Network.random((3, 5, 2), 4, torch.float32, device)
    with torch.autocast(device, dtype=torch.bfloat16):
        found = ops.mlp(network.x.bfloat16(), network.weights, network.biases, "tanh")
    rounded = network.x.bfloat16().float()
    assert torch.equal(found, ops.mlp(rounded, network.weights, network.biases, "tanh"))


def test_same_bits_on_every_run(threads):
    threads(2)
    network = Network.random((2, 64, 64, 1), 5000, torch.float32)
    grad_output = torch.randn(5000, 1)
    first, second = (evaluate(ops.mlp, network, grad_output, "tanh") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


WRONG = {
    "half precision": (
        lambda n: (n.x.half(), n.weights, n.biases, "tanh"),
        r"x: expected float32 or float64, got Half; convert it with x.float\(\)",
    ),
    "a single row": (
        lambda n: (n.x[0], n.weights, n.biases, "tanh"),
        r"x: expected shape \[rows, inputs\], got \[2\]; a single row is x\[None\]",
    ),
    "no layer": (lambda n: (n.x, [], [], "tanh"), "weights: expected at least one layer, got none"),
    "a bias too few": (
        lambda n: (n.x, n.weights, n.biases[:1], "tanh"),
        "biases: expected 2 as there are weights, got 1",
    ),
    "a transposed weight": (
        lambda n: (n.x, [n.weights[0].T, n.weights[1]], n.biases, "tanh"),
        r"weights\[0\]: expected shape \[2, 2\], got \[2, 4\]; a layer's inputs are the outputs",
    ),
    "another dtype": (
        lambda n: (n.x, n.weights, [b.double() for b in n.biases], "tanh"),
        r"biases\[0\]: expected Float like x, got Double",
    ),
    "an unknown activation": (
        lambda n: (n.x, n.weights, n.biases, "swish"),
        'activation: expected one of tanh, .* got "swish"; choose one of these',
    ),
    "an unknown final activation": (
        lambda n: (n.x, n.weights, n.biases, "tanh", "softmax"),
        'final_activation: expected one of tanh, .* got "softmax"',
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(device, case):
    change, text = WRONG[case]
    network = Network.random((2, 4, 1), 3, torch.float32, device)
    with pytest.raises(ValueError, match=f"mlp: {text}"):
        ops.mlp(*change(network))


def test_wrong_gradient(device):
    network = Network.random((2, 4, 1), 3, torch.float32, device)
    with pytest.raises(ValueError, match=r"mlp_backward: grad_y: expected Float \[3, 1\] on"):
        torch.ops.pyneural.mlp_backward(network.x, *network.parts, "tanh", "linear", [True, True])
