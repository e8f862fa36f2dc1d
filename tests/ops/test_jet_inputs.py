"""The jet ops of a network whose inputs are functions of coordinates, given by their jet."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from pyneural import nn, ops
from pyneural.ops import Laplacian, LinearOperator, record_residual
from tests.ops.jet_oracle import (
    inputs_of,
    mean_square,
    nested,
    nested_jet,
    network_value,
    taylor_jet,
)
from tests.ops.networks import Network, gradients, jet
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

HEAT = LinearOperator({(0,): 1, (1, 1): -0.3})
CASES = [  # activation, derivatives, widths, points
    ("tanh", [(0,), (1,), (1, 1)], (3, 20, 20, 1), 17),
    ("sin", [], (3, 1), 5),
    ("silu", [Laplacian(0, 1, 2)], (4, 33, 5, 2), 127),
    ("gelu", [(0, 0, 1), (1, 1)], (5, 7, 3), 16),
    ("sigmoid", [(0, 1, 1, 2), (2, 2, 0, 0)], (2, 9, 9, 2), 40),
    ("softplus", [(1,), HEAT], (3, 64, 64, 1), 1000),
    ("tanh", [(1,)], (1, 4, 1), 0),
    ("gelu_tanh", [(1, 1, 1, 1)], (70, 5, 1), 1),
    ("relu", [(0,), (5,)], (3, 8, 2), 15),
    ("tanh", [HEAT, (1, 0), HEAT, (0, 1), Laplacian(2)], (17, 16, 16, 1), 33),
    ("tanh", [(0, 1, 2), HEAT], (2, 3), 9),
]


def subject(derivatives, widths, points, device, dtype=torch.float64):
    """A network whose x is a jet of any numbers."""
    network = Network.random(widths, points, dtype, device)
    channels = 1 + len(ops.input_channels(derivatives))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(channels, points, widths[0], generator=generator, dtype=torch.float64)
    return network.of([x.to(device, dtype), *network.tensors[1:]])


def evaluate(function, network, activation, derivatives, grad_output):
    network = network.leaves()
    output = jet(function, network, activation, derivatives)
    return output, *gradients(output, network, grad_output.to(output.dtype))


@pytest.mark.parametrize(("activation", "derivatives", "widths", "points"), CASES)
def test_values_and_gradients(device, activation, derivatives, widths, points):
    network = subject(derivatives, widths, points, device)
    grad_output = torch.randn(1 + len(derivatives), points, widths[-1], device=device).double()
    case = activation, derivatives, grad_output
    exact = evaluate(nested_jet, network, *case)
    found = evaluate(ops.jet_mlp, network, *case)
    for channel, exact_channel in zip(found[0], exact[0], strict=True):
        assert_close(channel, exact_channel, FLOAT64)
    for grad, exact_grad in zip(found[1:], exact[1:], strict=True):
        assert_close(grad, exact_grad, FLOAT64_GRADIENT)

    single = network.map(torch.Tensor.float)
    rounded = evaluate(taylor_jet, single.map(torch.Tensor.double), *case)
    by_torch = evaluate(taylor_jet, single, *case)
    for triple in zip(evaluate(ops.jet_mlp, single, *case), by_torch, rounded, strict=True):
        # Jets of any numbers cancel, and enlarge what the kernel's own tanh is off by.
        assert_as_good_as_torch(*triple, ratio=8)


@pytest.mark.parametrize(("activation", "derivatives", "widths", "points"), CASES[::2])
def test_jacobian(device, activation, derivatives, widths, points):
    network = subject(derivatives, widths, min(points, 2), device).leaves()
    parameters = [p for pair in zip(network.weights, network.biases, strict=True) for p in pair]
    rows = jet(nested_jet, network, activation, derivatives).movedim(1, 0).flatten(1)
    exact = [
        torch.cat([g.flatten() for g in torch.autograd.grad(
            element, parameters, retain_graph=True, materialize_grads=True)])
        for element in rows.flatten()
    ]  # fmt: skip
    found = ops.jet_mlp_jacobian(*network.parts, activation, derivatives)
    assert found.shape[:2] == rows.shape
    if exact:
        assert_close(found.flatten(0, 1), torch.stack(exact), FLOAT64_GRADIENT)


partials = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple)
operators = st.dictionaries(partials, st.floats(0.5, 2), min_size=1, max_size=3)


@settings(max_examples=15)
@given(st.lists(partials | operators.map(LinearOperator), max_size=4))
def test_any_derivatives(derivatives):
    """Every plan has its channels in the order that input_channels says."""
    network = subject(derivatives, (3, 5, 2), 4, "cpu")
    try:
        inputs_of(network.x, derivatives)
    except ValueError:  # an operator of channels alone, whose own is not free
        reject()
    exact = jet(nested_jet, network, "tanh", derivatives)
    assert_close(jet(ops.jet_mlp, network, "tanh", derivatives), exact, FLOAT64_GRADIENT)


def test_operators_written_in_other_ways_are_the_same_channel():
    """The raw lists may repeat and shuffle what LinearOperator sorts and joins."""
    network = subject([HEAT], (3, 5, 2), 4, "cpu")
    shuffled = [-3, 2, 1, 1, 1, 0, 2, 1, 1], [-0.5, 1.0, 0.2]
    twice = [*shuffled[0], -2, 1, 0, 2, 1, 1], [*shuffled[1], 1.0, -0.3]
    u, heat = ops.jet_mlp(*network.parts, "tanh", [HEAT])
    for kernel in (torch.ops.pyneural.jet_mlp, ops.reference.jet_mlp):
        found = kernel(*network.parts, "tanh", *twice)
        for channel, exact in zip(found, (u, heat, heat), strict=True):
            assert_close(channel, exact, FLOAT64)


def periodic(x):
    """t, and x on a circle."""
    return torch.stack([x[:, 0], torch.sin(math.pi * x[:, 1]), torch.cos(math.pi * x[:, 1])], 1)


def jet_of(function, x, derivatives):
    return torch.stack(nested(function, x, ops.input_channels(derivatives)))


@pytest.mark.parametrize(
    "input_range", [None, ([0.0, -2, -2], [1.0, 2, 2]), ([2, 3, -2], [4, 7, 2])]
)
def test_a_periodic_embedding_before_a_layer(input_range):
    """Channel 0 is scaled and shifted to the range, the others are only scaled."""
    derivatives = [(0,), (1, 1), LinearOperator({(0,): 1, (0, 1): 2})]
    network = nn.MLP(3, [8, 8], 2, input_range=input_range).double()
    x = torch.rand(6, 2, dtype=torch.float64)
    e = jet_of(periodic, x, derivatives)
    exact = nested(lambda x: network._by_layers(periodic(x)), x, derivatives)
    for channel, exact_channel in zip(network.jet(e, derivatives), exact, strict=True):
        assert_close(channel, exact_channel, FLOAT64_GRADIENT)

    columns = torch.stack([x[:, 1], torch.rand(6).double()])
    program = record_residual(lambda jet, x, c, r: r[1] * (jet[1, 0] + c[0] * r[0] * jet[2, 1]))
    c = torch.tensor([0.7], dtype=torch.float64)
    loss = network.jet_loss(e, derivatives, program, c, columns)
    r = columns[1] * (exact[1][:, 0] + c * columns[0] * exact[2][:, 1])
    assert_close(loss, r.square().mean(), FLOAT64_GRADIENT)
    grads = [
        torch.autograd.grad(value, list(network.parameters()), materialize_grads=True)
        for value in (loss, r.square().mean())
    ]
    for a, b in zip(*grads, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)


def test_gradients_reach_a_learned_embedding(device):
    """A learned wave number, in front of the network in one pass, against nested autograd alone."""
    generator = torch.Generator().manual_seed(0)
    x, k = (torch.rand(*s, generator=generator, dtype=torch.float64).to(device)
            for s in ((50, 2), (2, 4)))  # fmt: skip
    network, derivatives = Network.random((4, 9, 1), 1, device=device), [HEAT, (1,)]
    k.requires_grad_()

    def embedding(x):
        return torch.sin(x @ k)

    program = record_residual(lambda jet, x, c: jet[1, 0] + jet[0, 0] * jet[2, 0])
    e = jet_of(embedding, x, derivatives)
    loss = ops.jet_mlp_loss(e, *network.parts[1:], "tanh", derivatives, program)
    u, heat, u_x = nested(
        lambda x: network_value(embedding(x), *network.parts[1:], "tanh"), x, derivatives
    )
    exact = (heat + u * u_x).square().mean()
    assert_close(loss, exact, FLOAT64_GRADIENT)
    (found,), (wanted,) = (torch.autograd.grad(v, k, create_graph=True) for v in (loss, exact))
    assert_close(found, wanted, FLOAT64_GRADIENT)
    second = [torch.autograd.grad(g.square().sum(), k)[0] for g in (found, wanted)]
    assert_close(*second, FLOAT64_GRADIENT)


def residual(jet, x, c, r):
    return jet[1, 0] + c[0] * jet[0, 0] * r[0], jet[2, 0] - r[1]


@pytest.mark.parametrize("points", [1, 17, 1000])
def test_loss_of_a_jet(device, points):
    derivatives = [HEAT, (1,)]
    network = subject(derivatives, (3, 20, 7, 2), points, device).leaves()
    c = torch.tensor([0.7], device=device, dtype=torch.float64, requires_grad=True)
    r = torch.randn(2, points, device=device, dtype=torch.float64, requires_grad=True)
    exact = mean_square(residual, jet(nested_jet, network, "tanh", derivatives), network.x, c, r)
    program = record_residual(residual)
    loss = ops.jet_mlp_loss(*network.parts, "tanh", derivatives, program, c, r)
    assert_close(loss, exact, FLOAT64_GRADIENT)
    leaves = [*network.tensors, c, r]
    for a, b in zip(
        torch.autograd.grad(loss, leaves, materialize_grads=True),
        torch.autograd.grad(exact, leaves, materialize_grads=True),
        strict=True,
    ):
        assert_close(a, b, FLOAT64_GRADIENT)


def test_strides_of_any_kind(device):
    derivatives = [HEAT, (1,)]
    network = subject(derivatives, (3, 20, 2), 50, device)
    grad_output = torch.randn(3, 50, 2, device=device).double()
    exact = evaluate(ops.jet_mlp, network, "tanh", derivatives, grad_output)
    strided = network.x.movedim(1, 0).contiguous().movedim(0, 1).flip(2).flip(2)
    leaves = [strided.requires_grad_(), *network.leaves().tensors[1:]]
    network = network.of(leaves)
    output = jet(ops.jet_mlp, network, "tanh", derivatives)
    found = output, *gradients(output, network, grad_output.mT.contiguous().mT)
    for a, b in zip(found, exact, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("count", [1, 2])
def test_threads_share_the_points(device, count, threads):
    threads(count)
    derivatives = [HEAT, (1,)]
    network = subject(derivatives, (3, 20, 20, 2), 5000, device)
    grad_output = torch.randn(3, 5000, 2, device=device).double()
    case = "tanh", derivatives, grad_output
    found, exact = (evaluate(f, network, *case) for f in (ops.jet_mlp, taylor_jet))
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)
    for a, b in zip(found, evaluate(ops.jet_mlp, network, *case), strict=True):
        assert torch.equal(a, b)


def test_meta_tensors_have_the_shapes():
    network = Network.random((2, 4, 3), 5).map(lambda tensor: tensor.to("meta"))
    for x in (network.x, network.x.expand(3, 5, 2)):  # points, and the jet of inputs
        given = x, *network.parts[1:], "tanh", [(1, 1)]
        u, u_xx = ops.jet_mlp(*given)
        assert u.shape == u_xx.shape == (5, 3)
        assert ops.jet_mlp_jacobian(*given).shape == (5, 6, 27)
