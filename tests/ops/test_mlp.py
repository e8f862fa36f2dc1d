"""ops.mlp against plain torch, and under everything that transforms or checks an op."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops.activations import NAMES
from tests.ops import by_torch
from tests.ops.by_torch import second_derivatives
from tests.ops.networks import Network, gradients
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

# In the cache and, wider than 128, layer by layer.
FUSED, WIDE = (3, 8, 5, 2), (3, 130, 5, 2)

# Off and on every tile; one layer; several blocks of rows and threads; wide; no rows.
CASES = [
    ((1, 1), 1),
    ((3, 2), 30),
    ((2, 20, 20, 1), 333),
    ((5, 16, 64, 17, 3), 250),
    ((70, 130, 9), 40),
    ((2, 64, 64, 1), 3000),
    ((2, 4, 1), 0),
    ((2, 140, 1), 0),
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
    exact = evaluate(by_torch.mlp, network, grad_output, *final)
    found = evaluate(ops.mlp, network, grad_output, *activations)
    for one, other, limit in zip(found, exact, (FLOAT64, *[FLOAT64_GRADIENT] * 2), strict=True):
        assert_close(one, other, limit)


@pytest.mark.parametrize("widths", [(6, 33, 20, 4), (6, 133, 20, 4)])
@pytest.mark.parametrize("activation", NAMES)
def test_every_activation_in_float32(device, activation, widths):
    network = Network.random(widths, 150, torch.float32, device)
    grad_output = torch.randn(150, 4, device=device)
    options = activation, activation
    exact = evaluate(by_torch.mlp, network.map(Tensor.double), grad_output.double(), *options)
    theirs = evaluate(by_torch.mlp, network, grad_output, *options)
    for triple in zip(
        evaluate(ops.mlp, network, grad_output, *options), theirs, exact, strict=True
    ):
        assert_as_good_as_torch(*triple)


@pytest.mark.parametrize("widths", [FUSED, WIDE])
def test_only_the_gradients_asked_for(device, widths):
    network = Network.random(widths, 20, device=device)
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


@pytest.mark.parametrize("widths", [(2, 4, 3, 2), (1, 130, 2, 1)])
@pytest.mark.parametrize("activations", [("tanh", "linear"), ("silu", "sigmoid"), ("relu", "elu")])
def test_gradcheck(device, activations, widths):
    network = Network.random(widths, 3, device=device).leaves()

    def function(*tensors):
        return ops.mlp(*network.of(tensors).parts, *activations)

    assert torch.autograd.gradcheck(function, network.tensors)
    # In a random direction where there are hundreds of parameters.
    wide = max(widths) > 100
    assert torch.autograd.gradgradcheck(function, network.tensors, fast_mode=wide)


@pytest.mark.parametrize("activations", [("tanh", "linear"), ("gelu", "softplus"), ("elu", "sin")])
def test_second_derivatives(device, activations):
    network = Network.random(FUSED, 20, device=device)
    for frozen in (None, 0, 1, slice(1, 4)):  # nothing, x, a weight, all weights
        needed = [True] * len(network.tensors)
        if frozen is not None:
            needed[frozen] = [False] * 3 if isinstance(frozen, slice) else False

        def values(function, needed=needed):
            call = lambda *t: function(*network.of(t).parts, *activations)  # noqa: E731
            return second_derivatives(call, network.tensors, needed)

        for one, other in zip(values(ops.mlp), values(by_torch.mlp), strict=True):
            assert_close(one, other, FLOAT64_GRADIENT)


@pytest.mark.parametrize("widths", [FUSED, WIDE])
@pytest.mark.parametrize("create_graph", [False, True])
def test_batched_gradients(device, widths, create_graph):
    network = Network.random(widths, 6, device=device).leaves()
    y = ops.mlp(*network.parts, "tanh")
    directions = torch.randn(5, *y.shape, dtype=torch.float64, device=device)
    options = {"retain_graph": True, "create_graph": create_graph}
    batched = torch.autograd.grad(y, network.tensors, directions, is_grads_batched=True, **options)
    for i, direction in enumerate(directions):
        single = torch.autograd.grad(y, network.tensors, direction, retain_graph=True)
        for found, exact in zip(batched, single, strict=True):
            assert found.requires_grad == create_graph
            assert_close(found[i], exact, FLOAT64_GRADIENT)


@pytest.mark.parametrize("widths", [FUSED, WIDE])
def test_opcheck(device, widths):
    network = Network.random(widths, 3, device=device).leaves()
    torch.library.opcheck(torch.ops.pyneural.mlp.default, (*network.parts, "tanh", "linear"))


def test_opcheck_of_the_backward(device):
    network = Network.random((2, 4, 2), 3, device=device)
    plain = network.of([network.x.T.contiguous().T, *network.tensors[1:]])
    grad_y = torch.randn(3, 2, dtype=torch.float64, device=device)
    torch.library.opcheck(
        torch.ops.pyneural.mlp_backward.default,
        (grad_y, *plain.parts, "tanh", "linear", [True, True]),
    )


@pytest.mark.parametrize("widths", [FUSED, WIDE])
def test_compile(device, widths):
    torch._dynamo.reset()  # the ops share a wrapper, whose compilations are limited in number
    network = Network.random(widths, 30, device=device)
    grad_output = torch.randn(30, 2, dtype=torch.float64, device=device)
    compiled = torch.compile(ops.mlp, fullgraph=True)
    exact = evaluate(ops.mlp, network, grad_output, "tanh")
    for one, other in zip(evaluate(compiled, network, grad_output, "tanh"), exact, strict=True):
        assert_close(one, other, FLOAT64)


@pytest.mark.parametrize("widths", [FUSED, WIDE])
def test_torch_func(device, widths):
    network = Network.random(widths, 4, device=device)
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


def by_dense(x, weights, biases, activation):
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = ops.dense(x, weight, bias, activation)
    return ops.dense(x, weights[-1], biases[-1])


def test_a_wide_network_is_its_layers(device):
    network = Network.random(WIDE, 20, torch.float32, device)
    grad_output = torch.randn(20, 2, device=device)
    layers = evaluate(by_dense, network, grad_output, "silu")
    for one, other in zip(evaluate(ops.mlp, network, grad_output, "silu"), layers, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(ops.mlp(*network.parts, "silu"), layers[0])
    with torch.inference_mode():
        assert torch.equal(ops.mlp(*network.parts, "silu"), layers[0])


def test_a_wide_network_in_place_and_batched(device):
    network = Network.random(WIDE, 20, device=device).leaves()
    y = ops.mlp(*network.parts, "tanh")
    directions = torch.eye(2, dtype=torch.float64, device=device)[:, None].expand(2, 20, 2)
    batched = torch.autograd.grad(
        y, network.x, directions, is_grads_batched=True, retain_graph=True
    )[0]
    for direction, found in zip(directions, batched, strict=True):
        assert_close(
            found, torch.autograd.grad(y, network.x, direction, retain_graph=True)[0], FLOAT64
        )
    exact = 2 * torch.autograd.grad(y.sum(), network.x, retain_graph=True)[0]
    y.mul_(2)
    assert_close(torch.autograd.grad(y.sum(), network.x)[0], exact, FLOAT64)


def test_deeper_than_the_kernels(device):
    network = Network.random((4,) * 70, 5, device=device)
    final = "tanh", "linear"
    assert_close(ops.mlp(*network.parts, *final), by_torch.mlp(*network.parts, *final), FLOAT64)


def test_a_sum_of_one_sign_keeps_its_digits(device, threads):
    """Terms of one sign: a sum that adds them one by one rounds ever more coarsely."""
    threads(1)
    network = Network.random((8, 4), 60_000, torch.float32, device)
    network = network.of([torch.full_like(network.x, 0.1), *network.tensors[1:]])
    ones = torch.ones(60_000, 4, device=device)
    gradient = evaluate(ops.mlp, network, ones, "linear")[2]
    exact = evaluate(by_torch.mlp, network.map(Tensor.double), ones.double(), "linear", "linear")[2]
    assert ((gradient - exact) / exact).abs().max() < 2e-5


def test_a_wide_network_in_lower_precision(device):
    network = Network.random(WIDE, 20, torch.float32, device).leaves()
    with torch.autocast(device, dtype=torch.bfloat16):
        y, layers = (f(*network.parts, "tanh") for f in (ops.mlp, by_dense))
    assert y.dtype is torch.bfloat16
    assert torch.equal(y, layers)
    for one, other in zip(
        *(torch.autograd.grad(t.float().sum(), network.tensors) for t in (y, layers)), strict=True
    ):
        assert torch.equal(one, other)


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


@pytest.mark.parametrize("case", ["a bias too few", "a single row"])
def test_wrong_arguments_of_a_wide_network(device, case):
    change, text = WRONG[case]
    network = Network.random((2, 130, 1), 3, torch.float32, device).leaves()
    with pytest.raises(ValueError, match=f"mlp: {text}"):
        ops.mlp(*change(network))
    with torch.autocast(device, dtype=torch.bfloat16), pytest.raises(ValueError, match=text):
        ops.mlp(*change(network))


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(device, case):
    change, text = WRONG[case]
    network = Network.random((2, 4, 1), 3, torch.float32, device)
    with pytest.raises(ValueError, match=f"mlp: {text}"):
        ops.mlp(*change(network))


def test_wrong_gradient(device):
    network = Network.random((2, 4, 1), 3, torch.float32, device)
    with pytest.raises(ValueError, match=r"mlp_backward: grad_y: expected shape \[3, 1\], got"):
        torch.ops.pyneural.mlp_backward(network.x, *network.parts, "tanh", "linear", [True, True])
