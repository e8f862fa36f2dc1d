"""How derivatives are written, and what linear operators are."""

import math

import numpy as np
import pytest
import torch

from pyneural import ops
from pyneural.ops import Laplacian, LinearOperator
from pyneural.ops.jet.derivatives import decode, encode, partials_of
from pyneural.ops.jet.plan import make_plan
from tests.ops.jet_oracle import nested_jet
from tests.ops.networks import Network, gradients, jet
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close

HEAT = LinearOperator({(0,): 1.0, (1, 1): -0.3, (2, 2): -0.3})
BIHARMONIC = LinearOperator({(0,) * 4: 1, (0, 0, 1, 1): 2, (1,) * 4: 1})
ODD = LinearOperator({(1,): 1e-20, (0, 2, 1): 3e7, (2,): -1 / 3})


def test_encoding():
    derivatives = ((0,), (1, 1, 0, 2), Laplacian(2, 0), ODD, (1,))
    encoded, coefficients = encode("jet_mlp", derivatives)
    assert encoded[:7] == (1, 0, 4, 1, 1, 0, 2)
    assert coefficients[:2] == (1.0, 1.0)
    assert decode(encoded, coefficients) == derivatives
    assert decode(*encode("jet_mlp", ())) == ()


@pytest.mark.parametrize(
    ("derivatives", "coefficients"),
    [([2, 0], []), ([0], []), ([-1, 1, 0], []), ([-2, 1, 0], [1.0]), ([1, 0], [1.0])],
)
def test_lists_that_are_no_derivatives(derivatives, coefficients):
    with pytest.raises(ValueError, match="derivatives: expected"):
        decode(derivatives, coefficients)


def test_integers_of_other_types():
    assert encode("jet_mlp", [(np.int64(3), torch.tensor(2))]) == ((2, 3, 2), ())
    assert LinearOperator({(np.int64(3),): np.float32(2)}) == LinearOperator({(3,): 2})


def test_operators_are_values():
    assert Laplacian(1, 2) == Laplacian(2, 1) == LinearOperator({(1, 1): 1, (2, 2): 1})
    assert hash(Laplacian(1, 2)) == hash(LinearOperator({(2, 2): 1, (1, 1): 1}))
    assert Laplacian(1) != (1, 1)
    assert LinearOperator({(0,): 1}) != LinearOperator({(0,): 2})
    assert LinearOperator({(0, 1): 1, (1, 0): 2}) == LinearOperator({(0, 1): 3})
    assert repr(Laplacian(1, 2)) == "Laplacian(1, 2)"
    assert eval(repr(ODD)) == ODD
    assert partials_of((2, 0)) == (((0, 2), 1.0),)


@pytest.mark.parametrize(
    ("coefficients", "text"),
    [
        ({}, "expected a dict of at least one derivative, got {}"),
        ([(0,)], r"expected a dict of at least one derivative, got \[\(0,\)\]"),
        ({(0,): "a"}, r"expected numbers, got 'a' for \(0,\); give each derivative one real"),
        ({(0,): torch.ones(2)}, "expected numbers, got tensor"),
        ({(0,): 10**400}, "expected numbers, got 1000"),
        ({(0,): torch.ones((), requires_grad=True)}, "expected constants, got a tensor that requ"),
        ({(0, 1): 1e308, (1, 0): 1e308}, r"expected finite numbers, got inf for \(1, 0\)"),
        ({(): 1}, r"expected tuples of input indices, .* got \(\)"),
        ({0: 1}, "expected tuples of input indices, .* got 0"),
        ({(0.5,): 1}, "expected tuples of input indices"),
        ({(0,): math.nan}, r"expected finite numbers, got nan for \(0,\)"),
        ({(0,): math.inf}, "expected finite numbers"),
    ],
)
def test_bad_operators(coefficients, text):
    with pytest.raises(ValueError, match=f"^LinearOperator: coefficients: {text}"):
        LinearOperator(coefficients)


@pytest.mark.parametrize("indices", [(), (1, 1), ([0, 1],), (0.5,)])
def test_bad_laplacians(indices):
    with pytest.raises(ValueError, match=r"^Laplacian: indices: expected one or several"):
        Laplacian(*indices)


@pytest.mark.parametrize("operator", [HEAT, BIHARMONIC, ODD, LinearOperator({(1,): 2, (0,): 3})])
def test_an_operator_is_the_sum_of_its_derivatives(device, operator):
    network = Network.random((3, 17, 9, 2), 41, device=device).leaves()
    indices, coefficients = zip(*operator.partials, strict=True)
    _, found = jet(ops.jet_mlp, network, "tanh", [operator])
    _, *parts = jet(nested_jet, network, "tanh", indices)
    exact = sum(c * part for c, part in zip(coefficients, parts, strict=True))
    scale = float(exact.detach().abs().max())
    assert_close(found / scale, exact / scale, FLOAT64)
    for output in found, exact:
        assert output.requires_grad
    grad = torch.randn_like(exact) / scale
    for a, b in zip(gradients(found, network, grad), gradients(exact, network, grad), strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)


def test_an_operator_is_one_channel():
    assert len(make_plan((HEAT,)).channels) == 3  # u_x, u_y, itself
    assert len(make_plan(((0,), (1, 1), (2, 2))).channels) == 5
