"""The Taylor mode of the reference against nested autograd and against what is known by hand."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.ops import Laplacian, LinearOperator, record_residual
from pyneural.ops.jet.derivatives import encode
from pyneural.ops.jet.plan import make_plan, partitions
from tests.ops.jet_oracle import forward_jet, nested_jet, taylor_jet
from tests.ops.networks import SMOOTH, Network, gradients, jet
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close


def test_by_hand():
    # u = sin(2 t + 3 x), so that u_tx = -6 u and u_ttxx = 36 u.
    x = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    weights = [torch.tensor([[2.0, 3.0]]).double(), torch.ones(1, 1).double()]
    biases = [torch.zeros(1).double()] * 2
    asked = [(0, 1), (0, 0, 1, 1), Laplacian(0, 1)]
    for function in (nested_jet, forward_jet, taylor_jet):
        u, u_tx, u_ttxx, laplacian = function(x, weights, biases, "sin", asked)
        assert_close(u, torch.full((1, 1), math.sin(2 * 0.3 - 3 * 0.7)), 1e-7)
        assert_close(u_tx, -6 * u, FLOAT64)
        assert_close(u_ttxx, 36 * u, FLOAT64)
        assert_close(laplacian, -13 * u, FLOAT64)


def test_number_of_set_partitions():
    assert [len(list(partitions(tuple(range(n))))) for n in range(5)] == [1, 1, 2, 5, 15]


def test_channels_are_shared():
    plan = make_plan(((0,), (1, 0), (0, 1), (1, 1, 1), Laplacian(0, 1)))
    assert set(plan.channels) == {(0,), (1,), (0, 1), (1, 1), (1, 1, 1), Laplacian(0, 1)}
    assert plan.outputs[1] == plan.outputs[2] == (0, 1)
    assert plan.order == 3
    # u_xxx: f' z_xxx + 3 f'' z_x z_xx + f''' z_x^3
    assert sorted(term.coefficient for term in plan.channels[(1, 1, 1)]) == [1, 1, 3]


@pytest.mark.parametrize("activation", SMOOTH)
def test_nested_and_taylor_agree_to_the_second_gradient(activation):
    network = Network.random((3, 5, 4, 2), 6).leaves()
    asked = [(0,), (1, 2), (0, 0, 1), (2, 1, 2, 0), Laplacian(0, 2)]
    found = []
    for function in (nested_jet, taylor_jet):
        output = jet(function, network, activation, asked)
        first = torch.autograd.grad(output.square().sum(), network.tensors, create_graph=True)
        value = sum(grad.square().sum() for grad in first)
        found.append([output, *first, *gradients(value, network, torch.ones_like(value))])
    for a, b in zip(*found, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)


def test_both_nested_modes_agree():
    network = Network.random((3, 5, 4, 2), 6)
    asked = [(0,), (1, 2), (0, 0, 1), (2, 1, 2, 0), Laplacian(0, 2)]
    reverse = torch.stack(nested_jet(*network.parts, "tanh", asked))
    assert_close(forward_jet(*network.parts, "tanh", asked), reverse, FLOAT64)


def test_nested_is_a_function_of_what_it_is_given():
    network = Network.random((2, 3, 1), 4)
    with torch.no_grad():
        u, u_t = nested_jet(*network.parts, "tanh", [(0,)])
    assert not network.x.requires_grad
    scaled = network.x.clone().requires_grad_()
    _, through = nested_jet(2 * scaled / 2, *network.parts[1:], "tanh", [(0,)])
    assert_close(through, u_t, FLOAT64)
    assert torch.autograd.grad(through.sum(), scaled)[0].any()
    assert u.shape == (4, 1)


COMPOSITE = torch._C.DispatchKey.CompositeExplicitAutograd


def op_arguments(name):
    network = Network.random((2, 5, 3, 2), 6)
    arguments = *network.parts, "tanh", *encode(name, [(0,), LinearOperator({(1, 1): 2, (0,): -1})])
    if name == "jet_mlp_backward":
        return torch.ones(3, 6, 2).double(), *arguments, [True, True]
    if name == "jet_mlp_loss":
        program = record_residual(lambda jet, x, c: jet[2, 0] + c[0] * jet[0, 0] * jet[1, 1] - 0.5)
        return *arguments, *program, torch.tensor([0.7]).double(), None, [True] * 3
    return arguments


@pytest.mark.parametrize(
    "name", ["jet_mlp", "jet_mlp_backward", "jet_mlp_jacobian", "jet_mlp_loss"]
)
def test_devices_without_a_kernel_have_the_reference(name):
    op, arguments = getattr(torch.ops.pyneural, name).default, op_arguments(name)
    kernel, composite = op(*arguments), op._op_dk(COMPOSITE, *arguments)
    tensors = (kernel, composite) if isinstance(kernel, tuple) else ((kernel,), (composite,))
    for found, exact in zip(*tensors, strict=True):
        assert_close(found, exact, FLOAT64_GRADIENT)
    wrong = [[] if isinstance(a, tuple) and a and isinstance(a[0], float) else a for a in arguments]
    with pytest.raises(ValueError, match=f"{name}: operator_coefficients: expected one"):
        op._op_dk(COMPOSITE, *wrong)
