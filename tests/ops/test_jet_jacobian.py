"""Gradients of every point's channels."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops
from pyneural.ops import Laplacian, reference
from pyneural.ops.jet.derivatives import encode
from tests.ops.jet_oracle import forward_jacobian
from tests.ops.networks import SMOOTH, Network
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

CASES = [
    (activation, derivatives, widths, points)
    for activation, (derivatives, widths, points) in zip(
        SMOOTH,
        [
            ([], (2, 3, 1), 17),
            ([(0,), (1, 1)], (2, 20, 20, 1), 40),
            ([(0, 1)], (2, 33, 7, 3), 15),
            ([Laplacian(0, 1)], (2, 1, 2), 16),
            ([(0, 0, 1), (1, 1, 1, 1)], (2, 9, 3, 2), 5),
            ([(1,)], (2, 4, 1), 0),
            ([(1,), (0, 0)], (2, 3), 1),
        ],
        strict=True,
    )
]


@pytest.mark.parametrize(("activation", "derivatives", "widths", "points"), CASES)
def test_values(device, activation, derivatives, widths, points):
    network = Network.random(widths, points, device=device)
    found = ops.jet_mlp_jacobian(*network.parts, activation, derivatives)
    plan = encode("jet_mlp_jacobian", derivatives)
    exact = reference.jet_mlp_jacobian(*network.parts, activation, *plan)
    assert_close(found, exact, FLOAT64)

    single = network.map(torch.Tensor.float)
    rounded = single.map(torch.Tensor.double)
    exact = reference.jet_mlp_jacobian(*rounded.parts, activation, *plan)
    torch_result = reference.jet_mlp_jacobian(*single.parts, activation, *plan)
    found = ops.jet_mlp_jacobian(*single.parts, activation, derivatives)
    assert_as_good_as_torch(found, torch_result, exact)


def test_against_nested_forward_mode(device):
    derivatives = [(0,), (0, 1, 1), Laplacian(0, 1)]
    network = Network.random((2, 5, 4, 2), 7, device=device)
    found = ops.jet_mlp_jacobian(*network.parts, "tanh", derivatives)
    assert_close(found, forward_jacobian(*network.parts, "tanh", derivatives), FLOAT64_GRADIENT)


@pytest.mark.parametrize("count", [1, 2])
def test_its_product_with_a_gradient_is_the_backward(device, count, threads):
    threads(count)
    derivatives, points = [(0,), (1, 1)], 300
    network = Network.random((2, 20, 7, 2), points, device=device).leaves()
    grad_output = torch.randn(3, points, 2, device=device, dtype=torch.float64)
    output = torch.stack(ops.jet_mlp(*network.parts, "tanh", derivatives))
    parameters = [p for pair in zip(network.weights, network.biases, strict=True) for p in pair]
    grads = torch.autograd.grad(output, parameters, grad_output)
    with torch.no_grad():
        jacobian = ops.jet_mlp_jacobian(*network.parts, "tanh", derivatives)
    product = torch.einsum("nkp,nk->p", jacobian, grad_output.movedim(1, 0).flatten(1))
    assert_close(product, torch.cat([grad.flatten() for grad in grads]), FLOAT64_GRADIENT)
