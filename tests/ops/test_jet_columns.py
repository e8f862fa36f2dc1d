"""Columns of residual programs: values that differ from point to point, and their gradients."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops
from pyneural.ops import Laplacian, ResidualProgram, collapse_derivatives, record_residual
from pyneural.ops.jet.residual import CHANNEL, COLUMN, FUNCTIONS, RESIDUAL, evaluate_residual
from tests.ops.jet_oracle import mean_square, nested_jet, taylor_loss
from tests.ops.networks import Network
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

DERIVATIVES = [(0,), (1,), (1, 1), Laplacian(0, 1)]
RESIDUALS = {
    "a field and a source": lambda jet, x, c, r: r[0] * jet[3, 0] + c[0] * r[1] - jet[1, 0],
    "weights of the points": lambda jet, x, c, r: (r[0] * (jet[1, 0] - x[1]), r[1] * jet[4, 1]),
    "a hard condition": lambda jet, x, c, r: r[0] + r[1] * jet[0, 0] + c[1] * jet[0, 1],
    "a column twice": lambda jet, x, c, r: r[1] * r[1] * jet[1, 0] + (r[1] / r[0]).exp(),
    "a column alone": lambda jet, x, c, r: (r[0], jet[0, 0]),
    "the logarithm of a column": lambda jet, x, c, r: (r[0] ** 2).log() * jet[1, 0] / r[1],
}


def subject(points, dtype=torch.float64, device="cpu", widths=(2, 20, 7, 2)):
    network = Network.random(widths, points, dtype, device)
    generator = torch.Generator().manual_seed(2)
    columns = 0.5 + torch.rand(2, points, generator=generator, dtype=torch.float64)
    coefficients = torch.tensor([0.7, -1.3], device=device, dtype=dtype)
    return network, coefficients, columns.to(device, dtype)


def nested_loss(x, weights, biases, activation, derivatives, residual, coefficients, columns):
    """The loss of a function, not of its program, on the jet by nested reverse mode."""
    jet = torch.stack(nested_jet(x, weights, biases, activation, derivatives))
    return mean_square(residual, jet, x, coefficients, columns)


def evaluate(function, subject, residual):
    """Loss, and its gradients for x, the parameters in one, coefficients and columns."""
    network, *others = subject
    network, others = network.leaves(), [t.detach().clone().requires_grad_() for t in others]
    loss = function(*network.parts, "tanh", DERIVATIVES, residual, *others)
    x, *parameters = network.tensors
    inputs = [x, *parameters, *others]
    grads = torch.autograd.grad(loss, inputs, materialize_grads=True)
    joined = torch.cat([grad.flatten() for grad in grads[1:-2]])
    return [loss, grads[0], joined, *grads[-2:]]


@pytest.mark.parametrize("points", [1, 16, 131])
@pytest.mark.parametrize("name", RESIDUALS)
def test_value_and_gradients(device, name, points):
    case = subject(points, device=device)
    program = record_residual(RESIDUALS[name])
    exact = evaluate(nested_loss, case, RESIDUALS[name])
    for a, b in zip(evaluate(ops.jet_mlp_loss, case, program), exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)

    if points < 100:  # a residual near 0 at one point is all rounding
        return
    network, *others = case
    single = network.map(torch.Tensor.float), *(t.float() for t in others)
    rounded = single[0].map(torch.Tensor.double), *(t.double() for t in single[1:])
    by_torch = evaluate(taylor_loss, single, program)
    exact = evaluate(taylor_loss, rounded, program)
    for triple in zip(evaluate(ops.jet_mlp_loss, single, program), by_torch, exact, strict=True):
        assert_as_good_as_torch(*triple)


@pytest.mark.parametrize("name", RESIDUALS)
def test_second_derivatives(device, name):
    """The gradient of the gradient's norm, against nested reverse mode alone."""
    case = subject(7, device=device, widths=(2, 5, 4, 2))
    found = []
    for function, residual in (
        (ops.jet_mlp_loss, record_residual(RESIDUALS[name])),
        (nested_loss, RESIDUALS[name]),
    ):
        network, *others = case
        network, others = network.leaves(), [t.clone().requires_grad_() for t in others]
        loss = function(*network.parts, "tanh", DERIVATIVES, residual, *others)
        leaves = [*network.tensors, *others]
        first = torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True)
        square = sum(grad.square().sum() for grad in first)
        second = torch.autograd.grad(square, leaves, materialize_grads=True)
        found.append(torch.cat([grad.flatten() for grad in (*first, *second)]))
    assert_close(*found, FLOAT64_GRADIENT)


def test_instructions_that_read_the_same_column(device):
    """No recorder writes them; the gradients of both count."""
    mul = FUNCTIONS["mul"].opcode
    program = ResidualProgram((COLUMN, 1, 0, COLUMN, 1, 0, mul, 0, 1, RESIDUAL, 2, 0), ())
    network, coefficients, columns = subject(19, device=device)
    columns.requires_grad_()
    loss = ops.jet_mlp_loss(*network.parts, "tanh", [], program, coefficients, columns)
    (grad,) = torch.autograd.grad(loss, columns)
    exact = torch.stack([torch.zeros(19, device=device).double(), 4 * columns[1] ** 3 / 19])
    assert_close(grad, exact, FLOAT64)


@pytest.mark.parametrize("required", ["x", "a weight", "coefficients", "columns"])
def test_gradients_only_where_required(device, required):
    residual = record_residual(RESIDUALS["a field and a source"])
    case = subject(40, device=device)
    exact = dict(zip(("x", "a weight", "coefficients", "columns"),
                     evaluate(ops.jet_mlp_loss, case, residual)[1:], strict=True))  # fmt: skip
    network, coefficients, columns = case
    tensors = {"x": network.x, "a weight": network.weights[0], "columns": columns}
    tensor = tensors.get(required, coefficients).requires_grad_()
    loss = ops.jet_mlp_loss(*network.parts, "tanh", DERIVATIVES, residual, coefficients, columns)
    (3 * loss).backward()
    others = [t for t in (*network.tensors, coefficients, columns) if t is not tensor]
    assert all(other.grad is None for other in others)
    expected = exact[required].flatten()[: tensor.numel()]
    assert_close(tensor.grad.flatten(), 3 * expected, FLOAT64)


def test_strides_of_any_kind(device):
    residual = record_residual(RESIDUALS["a field and a source"])
    network, coefficients, columns = subject(50, device=device)
    exact = evaluate(ops.jet_mlp_loss, (network, coefficients, columns), residual)
    leaf = columns.T.contiguous().requires_grad_()
    loss = ops.jet_mlp_loss(*network.parts, "tanh", DERIVATIVES, residual, coefficients, leaf.T)
    assert torch.equal(loss, exact[0])
    assert torch.equal(torch.autograd.grad(loss, leaf)[0].T, exact[-1])
    one = columns[:1, :1].clone().requires_grad_()  # a column that is the same at every point
    loss = ops.jet_mlp_loss(
        *network.parts, "tanh", DERIVATIVES, residual, coefficients, one.expand(2, 50)
    )
    (grad,) = torch.autograd.grad(loss, one)
    exact = evaluate(
        ops.jet_mlp_loss, (network, coefficients, one.detach().expand(2, 50)), residual
    )
    assert_close(grad, exact[-1].sum().view(1, 1), FLOAT64)


@pytest.mark.parametrize("count", [1, 2])
def test_same_bits_in_every_run(device, count, threads):
    threads(count)
    residual = record_residual(RESIDUALS["a column twice"])
    case = subject(5003, device=device)
    first = evaluate(ops.jet_mlp_loss, case, residual)
    for a, b in zip(first, evaluate(taylor_loss, case, residual), strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)
    for a, b in zip(first, evaluate(ops.jet_mlp_loss, case, residual), strict=True):
        assert torch.equal(a, b)


def test_what_is_refused(device):
    network, coefficients, columns = subject(5, torch.float32, device)
    residual = record_residual(RESIDUALS["a column alone"])
    options = "tanh", DERIVATIVES, residual, coefficients
    dtypes = (columns.double(), columns.int())
    text = r"^jet_mlp_loss: columns: expected "
    for wrong in (columns[0], columns.T, columns[:, :4], columns[None], *dtypes):
        with pytest.raises(ValueError, match=text + ".* got "):
            ops.jet_mlp_loss(*network.parts, *options, wrong)
        # As on devices without the one-pass kernel.
        with (
            pytest.raises(ValueError, match=text + ".* got "),
            torch.autograd.forward_ad.dual_level(),
        ):
            ops.jet_mlp_loss(*network.parts, *options, wrong)
    for few in (None, columns[:0]):
        with pytest.raises(ValueError, match=r'residual: expected .*, got "column 0'):
            ops.jet_mlp_loss(*network.parts, *options, few)


def test_a_program_with_columns():
    program = record_residual(lambda jet, x, c, r: r[1] * jet[0, 0])
    assert program == ResidualProgram((COLUMN, 1, 0, CHANNEL, 0, 0, 10, 0, 1, RESIDUAL, 2, 0), ())
    assert repr(program) == 'ResidualProgram("column 1; channel 0 0; mul 0 1; residual 2")'
    recorder = ops.Recorder()
    symbol = recorder.column(1) * recorder.symbol(recorder.channel(None, 0))
    assert recorder.program(symbol) == program
    scaled = 'column 1; channel 0 0; mul 0 1; coefficient 3; mul 2 3; residual 4")'
    assert repr(program.scaled(3)).endswith(scaled)
    assert repr(program.weighted(3)).endswith(scaled.replace("coefficient", "column"))
    assert program.moved(3) == program
    moved = record_residual(lambda jet, x, c, r: r[1] * x[0]).moved(3)
    assert repr(moved).endswith('column 1; input 0; coefficient 3; add 1 2; mul 0 3; residual 4")')


def test_a_default_is_no_place_for_columns():
    for function in (lambda jet, x, c, f=torch.sin: f(x[0]), lambda *a: a[1][0].sin()):
        assert repr(record_residual(function)) == 'ResidualProgram("input 0; sin 0; residual 1")'


def test_evaluated_by_torch():
    channels, x, c, r = (torch.rand(*s).double() for s in ((2, 7, 1), (7, 2), (1,), (2, 7)))
    program = record_residual(lambda jet, x, c, r: r[0] * jet[1, 0] + x[1] / r[1])
    (found,) = evaluate_residual(*program, channels, x, c, r)
    torch.testing.assert_close(found, r[0] * channels[1][:, 0] + x[:, 1] / r[1])


def test_a_derivative_times_a_column_stays_a_channel():
    derivatives = (0,), (1,), (1, 1)
    heat = record_residual(lambda jet, x, c, r: jet[1, 0] - r[0] * jet[3, 0] + r[1] * jet[2, 0])
    assert collapse_derivatives(derivatives, heat) == (derivatives, heat)
    mixed = record_residual(
        lambda jet, x, c, r: jet[1, 0] + 2 * jet[2, 0] - r[0] * jet[3, 0] + r[1]
    )
    network, _, columns = subject(9)
    exact = ops.jet_mlp_loss(*network.parts, "tanh", derivatives, mixed, columns=columns)
    fewer, program = collapse_derivatives(derivatives, mixed)
    assert (1, 1) in fewer
    found = ops.jet_mlp_loss(*network.parts, "tanh", fewer, program, columns=columns)
    assert_close(found, exact, FLOAT64)
    # Weights that come after the sums are joined leave them joined.
    plain = record_residual(lambda jet, x, c: jet[1, 0] - jet[3, 0])
    fewer, program = collapse_derivatives(derivatives, plain)
    assert len(fewer) == 1
    found = ops.jet_mlp_loss(
        *network.parts, "tanh", fewer, program.weighted(0), columns=columns[:1]
    )
    weighted = record_residual(lambda jet, x, c, r: r[0] * (jet[1, 0] - jet[3, 0]))
    exact = ops.jet_mlp_loss(*network.parts, "tanh", derivatives, weighted, columns=columns)
    assert_close(found, exact, FLOAT64)
