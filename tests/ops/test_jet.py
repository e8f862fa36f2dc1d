"""Values and first gradients of the jet against plain torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyneural import ops
from pyneural.ops import Laplacian, LinearOperator
from tests.ops.jet_oracle import nested_jet, taylor_jet
from tests.ops.networks import KINKED, SMOOTH, Network, gradients, jet
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

DERIVATIVES = [
    [],
    [(2,)],
    [(0,), (1,), (1, 1)],
    [(0, 1), (1, 0), (0, 1), (0,)],
    [(2, 2, 2), (0, 1, 2), (1, 0, 0)],
    [(1, 1, 1, 1)],
    [(0, 1, 1, 2), (2, 2, 0, 0), (0, 1, 2, 2), (1,)],
    [Laplacian(0, 1, 2)],
    [Laplacian(2, 1), (2, 2), Laplacian(0), (0, 0, 1)],
]
# Off and on every tile and vector length, and layers that differ.
WIDTHS = [(3, 1), (3, 3, 2), (3, 7, 20, 1), (3, 33, 2), (3, 64, 64, 1), (3, 130, 5, 3), (3, 1, 1)]
POINTS = [17, 0, 1, 15, 16, 127, 1000]

# Half of all pairs of activation and derivatives, every second; widths and points take turns.
CASES = [
    (activation, derivatives, WIDTHS[(a + d) % 7], POINTS[(a + 2 * d) % 7])
    for a, activation in enumerate(SMOOTH)
    for d, derivatives in enumerate(DERIVATIVES)
    if (a + d) % 2 == 0
]


def evaluate(function, network, activation, derivatives, grad_output):
    network = network.leaves()
    output = jet(function, network, activation, derivatives)
    return output, gradients(output, network, grad_output.to(output.dtype))


@pytest.mark.parametrize(("activation", "derivatives", "widths", "points"), CASES)
def test_values_and_gradients(device, activation, derivatives, widths, points):
    network = Network.random(widths, points, device=device)
    grad_output = torch.randn(1 + len(derivatives), points, widths[-1], device=device).double()
    case = activation, derivatives, grad_output
    exact, exact_grads = evaluate(nested_jet, network, *case)

    output, grads = evaluate(ops.jet_mlp, network, *case)
    for channel, exact_channel in zip(output, exact, strict=True):
        assert_close(channel, exact_channel, FLOAT64)
    for grad, exact_grad in zip(grads, exact_grads, strict=True):
        assert_close(grad, exact_grad, FLOAT64_GRADIENT)

    single = network.map(torch.Tensor.float)
    torch_result, torch_grads = evaluate(taylor_jet, single, *case)
    exact, exact_grads = evaluate(taylor_jet, single.map(torch.Tensor.double), *case)
    output, grads = evaluate(ops.jet_mlp, single, *case)
    for triple in zip(output, torch_result, exact, strict=True):
        assert_as_good_as_torch(*triple)
    for triple in zip(grads, torch_grads, exact_grads, strict=True):
        assert_as_good_as_torch(*triple)


def test_activations_with_a_kink(device):
    network = Network.random((2, 20, 7, 2), 33, device=device)
    grad_output = torch.randn(3, 33, 2, device=device, dtype=torch.float64)
    for activation in KINKED:
        case = activation, [(0,), (1,)], grad_output
        exact, exact_grads = evaluate(nested_jet, network, *case)
        output, grads = evaluate(ops.jet_mlp, network, *case)
        assert_close(output, exact, FLOAT64)
        for grad, exact_grad in zip(grads, exact_grads, strict=True):
            assert_close(grad, exact_grad, FLOAT64_GRADIENT)


BURGERS = [(0,), (1,), (1, 1)]


def test_what_comes_back(device):
    network = Network.random((3, 5, 2), 4, torch.float32, device)
    results = ops.jet_mlp(*network.parts, "tanh", iter([(0,), Laplacian(1, 2)]))
    assert isinstance(results, tuple)
    for result in results:
        assert result.shape == (4, 2)
        assert result.dtype == torch.float32
        assert result.device.type == device
    assert len(results) == 3


def test_order_of_indices_and_duplicates(device):
    network = Network.random((3, 20, 2), 9, device=device)
    asked = [(0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 1, 1)]
    _, *same = ops.jet_mlp(*network.parts, "sin", asked)
    for other in same[1:]:
        assert torch.equal(other, same[0])


def test_laplacian_is_the_sum_of_second_derivatives(device):
    network = Network.random((4, 20, 20, 2), 9, device=device)
    asked = [Laplacian(3, 1, 0), (0, 0), (1, 1), (3, 3)]
    _, laplacian, *second = ops.jet_mlp(*network.parts, "gelu", asked)
    assert_close(laplacian, sum(second), FLOAT64)


def test_one_layer_is_linear(device):
    network = Network.random((2, 3), 5, device=device)
    u, u_t, u_xx, laplacian = ops.jet_mlp(*network.parts, "tanh", [(0,), (1, 1), Laplacian(0, 1)])
    assert_close(u, network.x @ network.weights[0].T + network.biases[0], FLOAT64)
    assert torch.equal(u_t, network.weights[0][:, 0].expand(5, 3))
    assert not u_xx.any()
    assert not laplacian.any()


def test_strides_of_any_kind(device):
    network = Network.random((2, 7, 33, 2), 50, device=device)
    strided = network.map(lambda t: torch.stack([t, t + 1], -1)[..., 0])
    strided.weights[1] = network.weights[1].T.contiguous().T
    assert not any(tensor.is_contiguous() for tensor in strided.tensors)
    exact, found = network.leaves(), strided.map(lambda t: t.detach().requires_grad_())
    grad = torch.ones(1, 1, 1, device=device, dtype=torch.float64).expand(4, 50, 2)
    output = torch.stack(ops.jet_mlp(*exact.parts, "tanh", BURGERS))
    again = torch.stack(ops.jet_mlp(*found.parts, "tanh", BURGERS))
    assert torch.equal(output, again)
    for a, b in zip(gradients(output, exact, grad), gradients(again, found, grad), strict=True):
        assert torch.equal(a, b)


def test_gradients_only_where_required(device):
    network = Network.random((2, 7, 7, 1), 20, device=device)
    everything = network.leaves()
    torch.stack(ops.jet_mlp(*everything.parts, "tanh", BURGERS)).sum().backward()
    for required in ({0}, {1}, {6}, {2, 5}, {0, 3}):
        some = network.map(torch.Tensor.clone)
        for index, tensor in enumerate(some.tensors):
            tensor.requires_grad_(index in required)
        torch.stack(ops.jet_mlp(*some.parts, "tanh", BURGERS)).sum().backward()
        for index, tensor in enumerate(some.tensors):
            assert (tensor.grad is not None) == (index in required)
            if index in required:
                assert_close(tensor.grad, everything.tensors[index].grad, FLOAT64)


def test_an_unused_derivative_changes_nothing(device):
    network = Network.random((2, 7, 1), 20, device=device).leaves()
    u, u_t, _ = ops.jet_mlp(*network.parts, "tanh", [(0,), (1, 1)])
    found = torch.autograd.grad((u * u_t).sum(), network.tensors)
    u, u_t = ops.jet_mlp(*network.parts, "tanh", [(0,)])
    exact = torch.autograd.grad((u * u_t).sum(), network.tensors)
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)


@pytest.mark.parametrize("count", [1, 2])
def test_same_bits_in_every_run(device, count, threads):
    threads(count)
    network = Network.random((2, 33, 20, 1), 1000, torch.float32, device).leaves()

    def run():
        output = torch.stack(ops.jet_mlp(*network.parts, "tanh", BURGERS))
        return [output, *gradients(output, network, torch.ones_like(output))]

    first = run()
    for _ in range(5):
        for a, b in zip(first, run(), strict=True):
            assert torch.equal(a, b)


def test_more_tiles_than_threads(device, threads):
    threads(2)
    network = Network.random((2, 20, 20, 1), 20_011, device=device)
    grad_output = torch.randn(4, 20_011, 1, device=device, dtype=torch.float64)
    case = "tanh", BURGERS, grad_output
    output, grads = evaluate(ops.jet_mlp, network, *case)
    exact, exact_grads = evaluate(taylor_jet, network, *case)
    assert_close(output, exact, FLOAT64)
    for grad, exact_grad in zip(grads, exact_grads, strict=True):
        assert_close(grad, exact_grad, FLOAT64_GRADIENT)


def test_nan_stays_where_it_came_in(device):
    network = Network.random((2, 20, 1), 40, device=device)
    network.x[7] = torch.nan
    for activation in (*SMOOTH, *KINKED):
        u, u_t = ops.jet_mlp(*network.parts, activation, [(0,)])
        assert u.isnan().nonzero().tolist() == [[7, 0]]
        assert set(u_t.isnan().nonzero()[:, 0].tolist()) <= {7}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_arguments_saturate(device, dtype):
    network = Network.random((1, 20, 1), 16, dtype, device)
    far = Network(network.x * 1e4, network.weights, network.biases).leaves()
    for activation in SMOOTH:
        exact = jet(taylor_jet, far, activation, [(0,), (0, 0, 0, 0)])
        found = jet(ops.jet_mlp, far, activation, [(0,), (0, 0, 0, 0)])
        assert all(grad.isfinite().all() for grad in gradients(found, far, torch.ones_like(found)))
        if dtype == torch.float64:
            for channel, exact_channel in zip(found, exact, strict=True):
                assert_close(channel, exact_channel, FLOAT64_GRADIENT)


@st.composite
def cases(draw):
    inputs = draw(st.integers(1, 4))
    index = st.integers(0, inputs - 1)
    partial = st.lists(index, min_size=1, max_size=4).map(tuple)
    laplacian = st.lists(index, min_size=1, unique=True).map(lambda i: Laplacian(*i))
    coefficients = st.dictionaries(partial, st.floats(-2, 2), min_size=1, max_size=4)
    operator = coefficients.map(LinearOperator)
    hidden = draw(st.lists(st.integers(1, 40), max_size=4))
    return (
        draw(st.sampled_from(SMOOTH)),
        draw(st.lists(partial | laplacian | operator, max_size=4)),
        (inputs, *hidden, draw(st.integers(1, 3))),
        draw(st.integers(0, 70)),
        draw(st.integers(0, 2**31)),
    )


@settings(max_examples=60)
@given(cases())
def test_any_network_and_derivatives(case):
    activation, derivatives, widths, points, seed = case
    network = Network.random(widths, points, seed=seed)
    grad_output = torch.ones(1 + len(derivatives), points, widths[-1], dtype=torch.float64)
    options = activation, derivatives, grad_output
    exact, exact_grads = evaluate(taylor_jet, network, *options)
    output, grads = evaluate(ops.jet_mlp, network, *options)
    assert_close(output, exact, FLOAT64)
    for grad, exact_grad in zip(grads, exact_grads, strict=True):
        assert_close(grad, exact_grad, FLOAT64_GRADIENT)
