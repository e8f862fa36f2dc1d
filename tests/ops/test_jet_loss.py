"""The loss of residual equations, in one pass and composed, against other ways to differentiate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyneural import ops
from pyneural.ops import Laplacian, record_residual
from pyneural.ops.jet.residual import CHANNEL, COEFFICIENT, CONSTANT, FUNCTIONS, INPUT, RESIDUAL
from tests.ops.jet_oracle import forward_jet, mean_square, nested_jet, taylor_loss
from tests.ops.networks import Network
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

DERIVATIVES = [(0,), (1,), (1, 1), Laplacian(0, 1)]


def system(jet, x, c):
    first = jet[1, 0] + c[1] * jet[0, 0] * jet[0, 1]
    return first, c[0] - first * jet[1, 1], first


def one_value_twice(jet, x, c):
    u_t = jet[1, 0]
    double = u_t + u_t
    difference = double * (u_t * u_t) - u_t
    return (difference / difference) * difference


RESIDUALS = {
    "burgers": lambda jet, x, c: jet[1, 0] + jet[0, 0] * jet[2, 0] - 0.00318309886 * jet[3, 0],
    "poisson with a source": lambda jet, x, c: jet[4, 0] - torch.sin(x[0]) * torch.cos(x[1]),
    "system": system,
    "division": lambda jet, x, c: (jet[2, 1] / (jet[0, 0] ** 2 + 1)) / (c[1] ** 2 + 1),
    "bare": lambda jet, x, c: (jet[3, 1], x[1], c[0], -0.5),
    "one value twice": one_value_twice,
}
for name in ("neg", "square", "sin", "cos", "exp", "tanh", "abs"):
    function = FUNCTIONS[name].evaluate
    RESIDUALS[name] = lambda jet, x, c, f=function: f(jet[2, 0]) * jet[1, 1]
for name in ("sqrt", "log"):  # of a value in their domains
    function = FUNCTIONS[name].evaluate
    RESIDUALS[name] = lambda jet, x, c, f=function: f(jet[2, 0] ** 2 + 1) * jet[2, 0]


SYSTEM = record_residual(system)


def test_every_function_is_tested():
    tested = set(RESIDUALS) | {"add", "sub", "mul", "div"}
    assert tested >= set(FUNCTIONS)


def subject(points, dtype=torch.float64, device="cpu", widths=(2, 20, 7, 2)):
    network = Network.random(widths, points, dtype, device)
    coefficients = torch.tensor([0.7, -1.3], device=device, dtype=dtype)
    return network, coefficients


def nested_loss(x, weights, biases, activation, derivatives, residual, coefficients):
    """The loss of a function, not of its program, on the jet by nested reverse mode."""
    jet = torch.stack(nested_jet(x, weights, biases, activation, derivatives))
    return mean_square(residual, jet, x, coefficients)


def evaluate(function, network, coefficients, residual, with_x):
    """Loss, and its gradients for the parameters and coefficients, and for x if asked."""
    network, coefficients = network.leaves(), coefficients.clone().requires_grad_()
    network.x.requires_grad_(with_x)
    loss = function(*network.parts, "tanh", DERIVATIVES, residual, coefficients)
    parameters = [*network.weights, *network.biases]
    inputs = [*parameters, coefficients, *([network.x] if with_x else [])]
    loss = loss + 0 * coefficients.sum()  # a loss of constants still has gradients
    grads = torch.autograd.grad(loss, inputs, materialize_grads=True)
    joined = torch.cat([grad.flatten() for grad in grads[: len(parameters)]])
    return [loss, joined, *grads[len(parameters) :]]


@pytest.mark.parametrize("name", RESIDUALS)
def test_value_and_gradients(device, name):
    for with_x in (False, True):  # in one pass, composed
        check_value_and_gradients(device, RESIDUALS[name], with_x)


def check_value_and_gradients(device, residual, with_x):
    network, coefficients = subject(131, device=device)
    program = record_residual(residual)
    exact = evaluate(nested_loss, network, coefficients, residual, with_x)
    found = evaluate(ops.jet_mlp_loss, network, coefficients, program, with_x)
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)

    single, case = network.map(torch.Tensor.float), (program, with_x)
    torch_result = evaluate(taylor_loss, single, coefficients.float(), *case)
    rounded = single.map(torch.Tensor.double), coefficients.float().double()
    exact = evaluate(taylor_loss, *rounded, *case)
    found = evaluate(ops.jet_mlp_loss, single, coefficients.float(), *case)
    for triple in zip(found, torch_result, exact, strict=True):
        assert_as_good_as_torch(*triple)


@pytest.mark.parametrize("name", RESIDUALS)
def test_second_derivatives(device, name):
    """The gradient of the gradient's norm, in one pass, against nested forward mode."""
    network, coefficients = subject(9, device=device, widths=(2, 5, 4, 2))
    residual = RESIDUALS[name]

    def nested(x, weights, biases, activation, derivatives, _, c):
        jet = forward_jet(x, weights, biases, activation, derivatives)
        return mean_square(residual, jet, x, c)

    results = []
    for function in (ops.jet_mlp_loss, nested):
        leaves, c = network.leaves(), coefficients.clone().requires_grad_()
        x = leaves.x.detach()
        rest = "tanh", DERIVATIVES, record_residual(residual), c
        loss = function(x, leaves.weights, leaves.biases, *rest)
        tensors = [*leaves.weights, *leaves.biases, c]
        options = {"create_graph": True, "materialize_grads": True}
        first = torch.autograd.grad(loss + 0 * c.sum(), tensors, **options)
        square = sum(grad.square().sum() for grad in first)
        second = torch.autograd.grad(square, tensors, materialize_grads=True)
        results.append([torch.cat([grad.flatten() for grad in grads]) for grads in (first, second)])
    for found, exact in zip(*results, strict=True):
        assert_close(found, exact, FLOAT64_GRADIENT)


@pytest.mark.parametrize("points", [1, 17, 10_007])
def test_number_of_points(device, points):
    network, coefficients = subject(points, device=device)
    # A logarithm of zero in the padding of a tile would show.
    program = record_residual(lambda jet, x, c: jet[1, 0] * torch.log(x[0] ** 2) / x[1])
    exact = evaluate(taylor_loss, network, coefficients, program, False)
    found = evaluate(ops.jet_mlp_loss, network, coefficients, program, False)
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)


def test_without_coefficients_and_gradients(device):
    network, _ = subject(20, device=device)
    loss = ops.jet_mlp_loss(
        *network.parts, "tanh", DERIVATIVES, record_residual(RESIDUALS["burgers"])
    )
    exact = taylor_loss(*network.parts, "tanh", DERIVATIVES, record_residual(RESIDUALS["burgers"]))
    assert loss.shape == ()
    assert not loss.requires_grad
    assert_close(loss, exact, FLOAT64)
    with torch.no_grad():
        again = ops.jet_mlp_loss(
            *network.leaves().parts, "tanh", DERIVATIVES, record_residual(RESIDUALS["burgers"])
        )
    assert torch.equal(loss, again)


@pytest.mark.parametrize("required", ["a weight", "a bias", "coefficients"])
def test_gradients_only_where_required(device, required):
    network, coefficients = subject(20, device=device)
    everything = evaluate(ops.jet_mlp_loss, network, coefficients, SYSTEM, False)
    tensors = {"a weight": network.weights[1], "a bias": network.biases[0]}
    tensor = tensors.get(required, coefficients).requires_grad_()
    loss = ops.jet_mlp_loss(*network.parts, "tanh", DERIVATIVES, SYSTEM, coefficients)
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
    loss = ops.jet_mlp_loss(*network.parts, "tanh", DERIVATIVES, SYSTEM, coefficients)
    first = torch.autograd.grad(loss, network.weights, retain_graph=True)
    second = torch.autograd.grad(loss, network.weights)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("count", [1, 2])
def test_same_bits_in_every_run(device, count, threads):
    threads(count)
    network, coefficients = subject(5000, torch.float32, device)
    case = network, coefficients, SYSTEM, False
    first = evaluate(ops.jet_mlp_loss, *case)
    for _ in range(5):
        for a, b in zip(first, evaluate(ops.jet_mlp_loss, *case), strict=True):
            assert torch.equal(a, b)


def test_strides_of_any_kind(device):
    network, coefficients = subject(50, device=device)
    strided = network.map(lambda t: torch.stack([t, t + 1], -1)[..., 0])
    factors = torch.stack([coefficients, coefficients], 1)[:, 0]
    case = SYSTEM, False
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
    """A program of bounded values, every operand defined before."""
    code, constants, defined = [], [], 0

    def emit(opcode, a, b=0):
        nonlocal defined
        code.extend((opcode, a, b))
        defined += 1

    for _ in range(draw(st.integers(1, 4))):
        emit(CHANNEL, draw(st.integers(0, 4)), draw(st.integers(0, 1)))
    emit(COEFFICIENT, draw(st.integers(0, 1)))
    emit(INPUT, draw(st.integers(0, 1)))
    constants.append(draw(st.floats(-2, 2)))
    emit(CONSTANT, 0)
    for _ in range(draw(st.integers(0, 6))):
        earlier = st.integers(0, defined - 1)
        if draw(st.booleans()):
            emit(
                FUNCTIONS[draw(st.sampled_from(["neg", "sin", "cos", "tanh"]))].opcode,
                draw(earlier),
            )
        else:
            name = draw(st.sampled_from(["add", "sub", "mul"]))
            emit(FUNCTIONS[name].opcode, draw(earlier), draw(earlier))
    for _ in range(draw(st.integers(1, 3))):
        code.extend((RESIDUAL, draw(st.integers(0, defined - 1)), 0))
    return ops.ResidualProgram(tuple(code), tuple(constants))


@settings(max_examples=50)
@given(programs(), st.integers(1, 40))
def test_any_program(program, points):
    network, coefficients = subject(points, widths=(2, 5, 2))
    exact = evaluate(taylor_loss, network, coefficients, program, False)
    found = evaluate(ops.jet_mlp_loss, network, coefficients, program, False)
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)


def test_float32_gradients_of_many_points(device):
    """Their sum is as exact as that of one point, however many are added to it."""
    if device != "cpu":
        pytest.skip("on other devices torch sums")
    network = Network.random((2, 5, 1), 1, torch.float32)
    program, c = record_residual(lambda jet, x, c: jet[1, 0] + c[0] * jet[0, 0]), [0.5]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one, many = [], []
        for points, found in ((1, one), (500_001, many)):
            leaves = [*network.leaves().tensors[1:], torch.tensor(c, requires_grad=True)]
            weights, biases = leaves[:2], leaves[2:4]
            x = network.x.detach().expand(points, 2).contiguous()
            arguments = x, weights, biases, "tanh", [(0,)], program, leaves[4]
            r = ops.jet_mlp_residual(*arguments)
            sums = ops.jet_mlp_loss(*arguments), (r.detach() / points * r).sum()
            for value in sums:
                grads = torch.autograd.grad(value, leaves)
                found.append(torch.cat([grad.flatten() for grad in grads]))
    finally:
        torch.set_num_threads(before)
    for a, b in zip(one, many, strict=True):
        assert (a - b).abs().max() < 30 * torch.finfo(torch.float32).eps * a.abs().max()
