"""Every wrong input: the text names op, argument, expected, got and remedy."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pyneural import ops
from pyneural.ops import Laplacian, LinearOperator
from pyneural.ops.jet.residual import (
    CHANNEL,
    COEFFICIENT,
    COLUMN,
    CONSTANT,
    FUNCTIONS,
    INPUT,
    RESIDUAL,
    ResidualProgram,
)
from tests.ops.jet_oracle import taylor_jet
from tests.ops.networks import Network

PROGRAM = ops.record_residual(lambda jet, x, c: jet[0, 0])
OF_RESIDUALS = "jet_mlp_loss", "jet_mlp_residual", "jet_mlp_residual_jacobian", "jet_mlp_gram"


@pytest.fixture
def network(device):
    return Network.random((2, 4, 1), 3, torch.float32, device)


def changed(network, **tensors):
    """The parts with some of x, weights, biases replaced."""
    parts = dict(zip(("x", "weights", "biases"), network.parts, strict=True))
    return (parts | tensors).values()


# What is wrong with the network's arguments, and what the text must hold.
NETWORKS = {
    "half precision": (lambda n: {"x": n.x.half()}, "x: expected float32 or float64, got"),
    "whole numbers": (lambda n: {"x": n.x.int()}, r"got Int; convert it with x\.float\(\)"),
    "one point without its dimension": (
        lambda n: {"x": n.x[0]},
        r"x: expected shape \[points, inputs\], got \[2\]; a single row is x\[None\]",
    ),
    "no layer": (
        lambda n: {"weights": [], "biases": []},
        "weights: expected at least one layer, got none",
    ),
    "a bias too few": (
        lambda n: {"biases": n.biases[:1]},
        "biases: expected 2 as there are weights, got 1; give every layer a bias",
    ),
    "a weight too few": (lambda n: {"weights": n.weights[:1]}, "biases: expected 1 .* got 2"),
    "a weight that is not a matrix": (
        lambda n: {"weights": [n.weights[0][0], n.weights[1]]},
        r"weights\[0\]: expected shape \[outputs, inputs\], got \[2\]",
    ),
    "a transposed weight": (
        lambda n: {"weights": [n.weights[0].T, n.weights[1]]},
        r"weights\[0\]: expected shape \[2, 2\], got \[2, 4\]; a layer's inputs are",
    ),
    "a bias of another length": (
        lambda n: {"biases": [n.biases[0], n.biases[0]]},
        r"biases\[1\]: expected shape \[1\], got \[4\]",
    ),
    "another dtype": (
        lambda n: {"biases": [n.biases[0].double(), n.biases[1]]},
        r"biases\[0\]: expected Float like x, got Double; convert one of them with \.to\(dtype\)",
    ),
}

# Options, and what the text must hold.
OPTIONS = {
    "unknown activation": (
        "swish",
        [(0,)],
        'activation: expected one of tanh, sin, .* got "swish"',
    ),
    "order five": (
        "tanh",
        [(0,) * 5],
        "derivatives: expected orders 1 to 4, got 5; take a derivative",
    ),
    "index beyond the inputs": (
        "tanh",
        [(2,)],
        r"derivatives: expected input indices 0 to 1 \(x has 2 columns\), got 2; number the",
    ),
    "negative index": ("tanh", [(-1,)], "derivatives: expected input indices 0 to 1 .* got -1"),
    "index beyond the inputs in a Laplacian": (
        "tanh",
        [Laplacian(0, 2)],
        "derivatives: expected input indices 0 to 1",
    ),
    "too many": ("tanh", [(0,)] * 200, "derivatives: expected at most 127, got more; ask for them"),
    "kink": (
        "relu",
        [(1, 1)],
        'activation: got "relu" with derivatives of order 2, .* is zero almost everywhere; '
        "use tanh, sin",
    ),
    "kink under a Laplacian": ("elu", [Laplacian(0)], 'activation: got "elu"'),
    "bare index": (
        "tanh",
        [0],
        r"derivatives: expected tuples .* got 0; write \[\(0,\), \(1, 1\)\]",
    ),
    "no list": ("tanh", (1, 1), "derivatives: expected tuples of input indices"),
    "lists": ("tanh", [[0]], "derivatives: expected tuples of input indices"),
    "not iterable": ("tanh", None, "derivatives: expected tuples of input indices, .* got None"),
    "no index": ("tanh", [()], "derivatives: .* u itself always comes first"),
    "too large for 64 bits": ("tanh", [(2**64,)], "derivatives: expected tuples of input indices"),
    "a fraction": ("tanh", [(0.5,)], "derivatives: expected tuples of input indices"),
}


def calls(x, weights, biases, activation, derivatives):
    """Each op by its name, all with these arguments."""
    arguments = x, weights, biases, activation, derivatives
    return {
        "jet_mlp": lambda: ops.jet_mlp(*arguments),
        "jet_mlp_jacobian": lambda: ops.jet_mlp_jacobian(*arguments),
        **{name: partial(getattr(ops, name), *arguments, PROGRAM) for name in OF_RESIDUALS},
        "jet_mlp_path": partial(ops.jet_mlp_path, *arguments, PROGRAM, path=x.new_zeros(1, 5)),
    }


def assert_refused(name, call, text):
    # On CUDA residuals are made of the jet's ops, which then are the ones to refuse.
    with pytest.raises(ValueError, match=f"(?s)^(jet_mlp|jet_mlp_jacobian|{name}): {text}"):
        call()


@pytest.mark.parametrize("case", NETWORKS)
def test_networks(network, case):
    change, text = NETWORKS[case]
    for name, call in calls(*changed(network, **change(network)), "tanh", [(0,)]).items():
        if not (case == "whole numbers" and name in OF_RESIDUALS):
            assert_refused(name, call, f".*{text}")


def test_jets_of_inputs(network):
    """x with three dimensions; the derivatives say how many channels it has."""
    x, *parts = network.parts
    derivatives = [(0,), (1, 1)]  # u, u_t, u_x, u_xx
    for shape in ((3, 3, 2), (5, 3, 2), (0, 3, 2)):
        text = r"x: expected the 4 channels of the inputs' jet, \[1 \+ K, points, inputs\], got "
        text += rf"shape .*{shape[0]}, 3, 2\]; pyneural.ops.input_channels\(derivatives\) names"
        for name, call in calls(x.new_zeros(shape), *parts, "tanh", derivatives).items():
            assert_refused(name, call, text)
        with pytest.raises(ValueError, match=f"^jet_mlp: {text}"):
            taylor_jet(x.new_zeros(shape), *parts, "tanh", derivatives)
    texts = {
        (4, 3, 3): r"weights\[0\]: expected shape \[4, 3\], got \[4, 2\]",
        (4, 3, 0): r"x: expected shape \[1 \+ K, points, inputs\] with at least one column",
        (4, 3, 2, 1): r"x: expected shape \[points, inputs\], got \[4, 3, 2, 1\]",
    }
    for shape, text in texts.items():
        for name, call in calls(x.new_zeros(shape), *parts, "tanh", derivatives).items():
            assert_refused(name, call, text)
    for name, call in calls(x.new_zeros(1, 3, 2), *parts, "tanh", [(40000,)]).items():
        assert_refused(name, call, "derivatives: expected input indices 0 to 32767, got 40000;")
    x = x.expand(4, 3, 2)
    for change, text in (
        (lambda n: {"x": x.half()}, "x: expected float32 or float64"),
        (lambda n: {"weights": [], "biases": []}, "weights: expected at least one layer"),
    ):
        parts = changed(network, **({"x": x} | change(network)))
        for name, call in calls(*parts, "tanh", derivatives).items():
            assert_refused(name, call, text)


def test_coordinates_of_a_jet_come_as_columns(network):
    x, *parts = network.parts
    program = ops.record_residual(lambda jet, x, c: jet[0, 0] - x[0])
    for composed in (False, True):
        jet = x.expand(1, 3, 2).clone().requires_grad_(composed)
        text = r"residual: expected columns for the coordinates, since x is a jet .* got \"input 0"
        with pytest.raises(ValueError, match=f"^jet_mlp_loss: {text}"):
            ops.jet_mlp_loss(jet, *parts, "tanh", [], program)
    with pytest.raises(ValueError, match="x: expected at least one point, got shape"):
        ops.jet_mlp_loss(x[None, :0], *parts, "tanh", [], PROGRAM)


@pytest.mark.parametrize(
    ("derivatives", "text"),
    [
        ([0], "expected tuples of input indices"),
        ([(0,) * 5], "expected orders 1 to 4, got 5; take a derivative"),
        ([LinearOperator({(1,) * 9: 1})], "expected orders 1 to 4, got 9"),
    ],
)
def test_input_channels(derivatives, text):
    with pytest.raises(ValueError, match=f"^input_channels: derivatives: {text}"):
        ops.input_channels(derivatives)


@pytest.mark.parametrize("case", OPTIONS)
def test_options(network, case):
    activation, derivatives, text = OPTIONS[case]
    for name, call in calls(*network.parts, activation, derivatives).items():
        assert_refused(name, call, text)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_devices():
    network = Network.random((2, 4, 1), 3, device="cuda")
    weights = [network.weights[0].cpu(), network.weights[1]]
    with pytest.raises(ValueError, match=r"weights\[0\]: expected cuda:0 like x, got cpu; move it"):
        ops.jet_mlp(network.x, weights, network.biases, "tanh", [])


def test_backward_checks_the_gradient(network):
    backward = torch.ops.pyneural.jet_mlp_backward
    grad = torch.ones(1, 3, 1, device=network.x.device)
    rest = *network.parts, "tanh", [], [], [True, True]
    with pytest.raises(ValueError, match=r"grad_output: expected shape \[1, 3, 1\], got \[3, 1\]"):
        backward(grad[0], *rest)
    with pytest.raises(ValueError, match=r"grad_output: expected Float like x, got Double"):
        backward(grad.double(), *rest)


ADD, SIN = FUNCTIONS["add"].opcode, FUNCTIONS["sin"].opcode
U, MARK = (CHANNEL, 0, 0), (RESIDUAL, 0, 0)
PROGRAMS = {
    "nothing": ((), "at least one residual, got none"),
    "no residual": (U, "at least one residual, got none"),
    "truncated": ((*U, *MARK[:2]), "three whole numbers for each instruction, got 5 numbers"),
    "unknown opcode": ((*U, 99, 0, 0, *MARK), 'an opcode .* got "opcode 99 0 0"'),
    "negative opcode": ((*U, -1, 0, 0, *MARK), 'an opcode .* got "opcode -1 0 0"'),
    "operand to come": ((ADD, 0, 1, *MARK), 'defined before.* got "add 0 1"'),
    "itself": ((*U, ADD, 0, 1, *MARK), 'defined before.* got "add 0 1"'),
    "second operand to come": ((*U, ADD, 1, 0, *MARK), 'defined before.* got "add 1 0"'),
    "negative operand": ((*U, SIN, -1, 0, *MARK), 'defined before.* got "sin -1'),
    "largest operand": ((*U, SIN, 2**63 - 1, 0, *MARK), 'defined before.* got "sin 9223372036854'),
    "residual to come": ((*U, RESIDUAL, 1, 0), 'defined before.* got "residual 1'),
    "no such derivative": ((CHANNEL, 2, 0, *MARK), "channel 2 0"),
    "no such output": ((CHANNEL, 0, 1, *MARK), "channel 0 1"),
    "negative output": ((CHANNEL, 0, -1, *MARK), "channel 0 -1"),
    "no such input": ((INPUT, 2, 0, *MARK), "input 2"),
    "negative input": ((INPUT, -1, 0, *MARK), "input -1"),
    "no such coefficient": ((COEFFICIENT, 1, 0, *MARK), "coefficient 1"),
    "no such constant": ((CONSTANT, 1, 0, *MARK), "constant 1"),
    "no such column": ((COLUMN, 1, 0, *MARK), "column 1"),
    "negative column": ((COLUMN, -1, 0, *MARK), "column -1"),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_programs(network, case):
    code, text = PROGRAMS[case]
    x, *parts = network.parts
    rest = "tanh", [(0,)], ResidualProgram(code, (0.5,)), *map(x.new_ones, (1, (1, 3)))
    for composed in (False, True):
        for name in OF_RESIDUALS:
            with pytest.raises(ValueError, match=f"(?s)^{name}: residual: expected .*{text}"):
                getattr(ops, name)(x.requires_grad_(composed), *parts, *rest)


def test_an_operand_that_a_function_does_not_have_is_not_read(network):
    code = (*U, SIN, 0, 2**40, RESIDUAL, 1, -(2**40))
    found = ops.jet_mlp_loss(*network.parts, "tanh", [], ResidualProgram(code, ()))
    exact = taylor_jet(*network.parts, "tanh", [])[0].sin().square().mean()
    torch.testing.assert_close(found, exact)


def test_a_program_is_no_text(network):
    text = r"residual: expected a ResidualProgram, got 'u_xx'; pyneural.ops.record_residual"
    for name in OF_RESIDUALS:
        with pytest.raises(ValueError, match=f"^{name}: {text}"):
            getattr(ops, name)(*network.parts, "tanh", [], "u_xx")


def test_what_only_the_loss_asks(network):
    x, *parts = network.parts
    options = "tanh", [], PROGRAM
    ones = torch.ones(1, device=x.device)
    for composed in (False, True):
        x.requires_grad_(composed)
        text = r"^jet_mlp_loss: x: expected at least one point, got shape \[0, 2\]; the mean"
        with pytest.raises(ValueError, match=text):
            ops.jet_mlp_loss(x[:0], *parts, *options)
        for name in OF_RESIDUALS:
            text = rf"^{name}: coefficients: expected a 1-d tensor of .*loat.* like x, got"
            for wrong in (ones[0], ones[None], ones.double(), ones.int()):
                with pytest.raises(ValueError, match=text):
                    getattr(ops, name)(x, *parts, *options, wrong)
            text = rf"^{name}: columns: expected shape .*columns, .* got"
            with pytest.raises(ValueError, match=text):
                getattr(ops, name)(x, *parts, *options, ones, torch.ones(1, 2, device=x.device))


LISTS = {  # derivatives, operator_coefficients, text
    "no indices": ([1], [], "derivatives: expected as many input indices as the orders say"),
    "too few indices": ([1, 0, 3, 1, 1], [], r"derivatives: expected as many .* got \[1, 0, 3"),
    "order zero": ([0], [], "derivatives: expected orders 1 to 4, got 0"),
    "large order": ([2**62, 0], [], "derivatives: expected orders 1 to 4, got 4611686018427387904"),
    "largest operator": ([-(2**63), 1, 0], [1.0], "derivatives: expected as many input indices"),
    "too few derivatives": ([-2, 1, 0], [1.0, 1.0], "derivatives: expected as many input indices"),
    "order of an operator": ([-1, 0, 0], [1.0], "derivatives: expected orders 1 to 4, got 0"),
    "operator in an operator": ([-1, -1, 1, 0], [1.0], "derivatives: expected orders 1 to 4"),
    "no coefficient": ([-1, 1, 0], [], "operator_coefficients: expected one .* got 0"),
    "too few coefficients": ([-1, 1, 0, -1, 1, 1], [1.0], "operator_coefficients: .* got 1"),
    "too many coefficients": ([1, 0], [1.0], "operator_coefficients: expected one .* got 1"),
    "not finite": ([-1, 1, 0], [float("nan")], "operator_coefficients: expected finite numbers"),
}


@pytest.mark.parametrize("case", LISTS)
def test_lists_that_are_no_derivatives(network, case):
    *lists, text = LISTS[case]
    with pytest.raises(ValueError, match=f"jet_mlp: {text}"):
        torch.ops.pyneural.jet_mlp(*network.parts, "tanh", *lists)


@pytest.mark.parametrize(
    ("operators", "text"),
    [
        ([Laplacian(*range(200))], "expected at most 128 channels with the lower orders"),
        (
            [LinearOperator({(i,): c for i in range(200)}) for c in (1, 2)],
            "expected at most 256 first deriv",
        ),
        ([(40000,)], r"expected input indices 0 to 199 \(x has 200 columns\), got 40000;"),
    ],
)
def test_limits(operators, text):
    network = Network.random((200, 4, 1), 3)
    with pytest.raises(ValueError, match=f"jet_mlp: derivatives: {text}") as error:
        ops.jet_mlp(*network.parts, "tanh", operators)
    assert len(str(error.value)) < 300


def test_reference_refuses_too():
    network = Network.random((2, 4, 1), 3)
    for activation, derivatives, text in [
        ("swish", [], "activation: expected one of tanh"),
        ("tanh", [(0,) * 5], "expected orders up to 4"),
        ("relu", [(0, 0)], "expected orders up to 1 with relu"),
    ]:
        with pytest.raises(ValueError, match=text):
            taylor_jet(*network.parts, activation, derivatives)
