"""The loss of residual equations, in one pass and composed, against the program in plain torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyneural import ops
from pyneural.ops import Laplacian, reference
from tests.ops.networks import Network
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

DERIVATIVES = [(0,), (1,), (1, 1), Laplacian(0, 1)]
PROGRAMS = {
    "burgers": "channel 0 0; channel 1 0; channel 2 0; channel 3 0; mul 0 2; add 1 4;"
    "const 0.0031830988618379067; mul 6 3; sub 5 7; residual 8",
    "poisson with a source": "channel 4 0; input 0; sin 1; input 1; cos 3; mul 2 4; sub 0 5;"
    "residual 6",
    "system": "channel 1 0; channel 1 1; channel 0 0; channel 0 1; mul 2 3; coefficient 0;"
    "coefficient 1; mul 4 5; add 0 7; residual 8; mul 3 6; sub 1 9; residual 10; residual 8",
    "division": "channel 0 0; square 0; const 1e0; add 1 2; channel 2 1; div 4 3; coefficient 1;"
    "square 6; add 7 2; div 5 8; residual 9",
    "bare": "channel 3 1; residual 0; input 1; residual 1; coefficient 0; residual 2; const -.5;"
    "residual 3",
    "one value twice": "channel 1 0; add 0 0; mul 0 0; mul 1 2; sub 3 0; div 4 4; mul 5 3;"
    "residual 6",
}
for name in ("neg", "square", "sin", "cos", "exp", "tanh", "abs"):
    PROGRAMS[name] = f"channel 2 0; {name} 0; channel 1 1; mul 1 2; residual 3"
for name in ("sqrt", "log"):  # of a value in their domains
    PROGRAMS[name] = f"channel 2 0; square 0; const 1; add 1 2; {name} 3; mul 4 0; residual 5"


def subject(points, dtype=torch.float64, device="cpu", widths=(2, 20, 7, 2)):
    network = Network.random(widths, points, dtype, device)
    coefficients = torch.tensor([0.7, -1.3], device=device, dtype=dtype)
    return network, coefficients


def evaluate(function, network, coefficients, program, with_x):
    """Loss, and its gradients for the parameters and coefficients, and for x if asked."""
    network, coefficients = network.leaves(), coefficients.clone().requires_grad_()
    network.x.requires_grad_(with_x)
    loss = function(*network.parts, "tanh", DERIVATIVES, program, coefficients)
    parameters = [*network.weights, *network.biases]
    inputs = [*parameters, coefficients, *([network.x] if with_x else [])]
    loss = loss + 0 * coefficients.sum()  # a loss of constants still has gradients
    grads = torch.autograd.grad(loss, inputs, materialize_grads=True)
    joined = torch.cat([grad.flatten() for grad in grads[: len(parameters)]])
    return [loss, joined, *grads[len(parameters) :]]


@pytest.mark.parametrize("program", PROGRAMS)
def test_value_and_gradients(device, program):
    for with_x in (False, True):  # in one pass, composed
        check_value_and_gradients(device, program, with_x)


def check_value_and_gradients(device, program, with_x):
    network, coefficients = subject(131, device=device)
    case = PROGRAMS[program], with_x
    exact = evaluate(reference.jet_mlp_loss, network, coefficients, *case)
    found = evaluate(ops.jet_mlp_loss, network, coefficients, *case)
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)

    single = network.map(torch.Tensor.float)
    torch_result = evaluate(reference.jet_mlp_loss, single, coefficients.float(), *case)
    rounded = single.map(torch.Tensor.double), coefficients.float().double()
    exact = evaluate(reference.jet_mlp_loss, *rounded, *case)
    found = evaluate(ops.jet_mlp_loss, single, coefficients.float(), *case)
    for triple in zip(found, torch_result, exact, strict=True):
        assert_as_good_as_torch(*triple)


@pytest.mark.parametrize("points", [1, 17, 10_007])
def test_number_of_points(device, points):
    network, coefficients = subject(points, device=device)
    # A logarithm of zero in the padding of a tile would show.
    program = "channel 1 0; input 0; square 1; log 2; mul 0 3; input 1; div 4 5; residual 6"
    exact = evaluate(reference.jet_mlp_loss, network, coefficients, program, False)
    found = evaluate(ops.jet_mlp_loss, network, coefficients, program, False)
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)


def test_without_coefficients_and_gradients(device):
    network, _ = subject(20, device=device)
    loss = ops.jet_mlp_loss(*network.parts, "tanh", DERIVATIVES, PROGRAMS["burgers"])
    exact = reference.jet_mlp_loss(*network.parts, "tanh", DERIVATIVES, PROGRAMS["burgers"])
    assert loss.shape == ()
    assert not loss.requires_grad
    assert_close(loss, exact, FLOAT64)
    with torch.no_grad():
        again = ops.jet_mlp_loss(*network.leaves().parts, "tanh", DERIVATIVES, PROGRAMS["burgers"])
    assert torch.equal(loss, again)


@pytest.mark.parametrize("required", ["a weight", "a bias", "coefficients"])
def test_gradients_only_where_required(device, required):
    network, coefficients = subject(20, device=device)
    everything = evaluate(ops.jet_mlp_loss, network, coefficients, PROGRAMS["system"], False)
    tensors = {"a weight": network.weights[1], "a bias": network.biases[0]}
    tensor = tensors.get(required, coefficients).requires_grad_()
    loss = ops.jet_mlp_loss(*network.parts, "tanh", DERIVATIVES, PROGRAMS["system"], coefficients)
    (3 * loss).backward()
    others = [t for t in (*network.tensors, coefficients) if t is not tensor]
    assert all(other.grad is None for other in others)
    flat = torch.cat([everything[1], everything[2]])
    at = {"a weight": 2 * 20, "a bias": 20 * 2 + 7 * 20 + 2 * 7, "coefficients": len(flat) - 2}
    at = at[required]
    assert_close(tensor.grad.flatten(), 3 * flat[at : at + tensor.numel()], FLOAT64)


def test_backward_twice_through_one_loss(device):
    network, coefficients = subject(20, device=device)
    network = network.leaves()
    loss = ops.jet_mlp_loss(*network.parts, "tanh", DERIVATIVES, PROGRAMS["system"], coefficients)
    first = torch.autograd.grad(loss, network.weights, retain_graph=True)
    second = torch.autograd.grad(loss, network.weights)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("count", [1, 2])
def test_same_bits_in_every_run(device, count, threads):
    threads(count)
    network, coefficients = subject(5000, torch.float32, device)
    case = network, coefficients, PROGRAMS["system"], False
    first = evaluate(ops.jet_mlp_loss, *case)
    for _ in range(5):
        for a, b in zip(first, evaluate(ops.jet_mlp_loss, *case), strict=True):
            assert torch.equal(a, b)


def test_strides_of_any_kind(device):
    network, coefficients = subject(50, device=device)
    strided = network.map(lambda t: torch.stack([t, t + 1], -1)[..., 0])
    factors = torch.stack([coefficients, coefficients], 1)[:, 0]
    case = PROGRAMS["system"], False
    exact = evaluate(ops.jet_mlp_loss, network, coefficients, *case)
    leaves = strided.map(lambda t: t.detach().requires_grad_())
    loss = ops.jet_mlp_loss(
        leaves.x.detach(), leaves.weights, leaves.biases, "tanh", DERIVATIVES, case[0], factors
    )
    assert torch.equal(loss, exact[0])
    grads = torch.autograd.grad(loss, leaves.tensors[1:])
    assert torch.equal(torch.cat([grad.flatten() for grad in grads]), exact[1])


@st.composite
def programs(draw):
    """A program of bounded values: its text alone, every operand defined before."""
    lines, defined = [], 0

    def emit(line):
        nonlocal defined
        lines.append(line)
        defined += 1

    for _ in range(draw(st.integers(1, 4))):
        emit(f"channel {draw(st.integers(0, 4))} {draw(st.integers(0, 1))}")
    emit(f"coefficient {draw(st.integers(0, 1))}")
    emit(f"input {draw(st.integers(0, 1))}")
    emit(f"const {draw(st.floats(-2, 2))!r}")
    for _ in range(draw(st.integers(0, 6))):
        earlier = st.integers(0, defined - 1)
        if draw(st.booleans()):
            emit(f"{draw(st.sampled_from(['neg', 'sin', 'cos', 'tanh']))} {draw(earlier)}")
        else:
            name = draw(st.sampled_from(["add", "sub", "mul"]))
            emit(f"{name} {draw(earlier)} {draw(earlier)}")
    lines += [
        f"residual {draw(st.integers(0, defined - 1))}" for _ in range(draw(st.integers(1, 3)))
    ]
    return "; ".join(lines)


@settings(max_examples=50)
@given(programs(), st.integers(1, 40))
def test_any_program(program, points):
    network, coefficients = subject(points, widths=(2, 5, 2))
    exact = evaluate(reference.jet_mlp_loss, network, coefficients, program, False)
    found = evaluate(ops.jet_mlp_loss, network, coefficients, program, False)
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)
