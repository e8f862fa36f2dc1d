"""The Jacobian of residuals and its Gram matrix, against nested differentiation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyneural import ops
from pyneural.ops import Laplacian, LinearOperator, ResidualProgram, record_residual, reference
from pyneural.ops.jet.derivatives import encode
from tests.ops.jet_oracle import residual_jacobian
from tests.ops.networks import KINKED, SMOOTH, Network
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close


def system(jet, x, c, r):
    first = jet[1, 0] + c[1] * jet[0, 0] * r[0]
    return first, c[0] - first * jet[1, 0] * r[1], r[1] * jet[0, 0] + c[1] ** 2


def of_coordinates(derivative, output):
    def residual(jet, x, c, r):
        return jet[0, 0] * x[0] - c[0] * jet[derivative, output] / (1 + r[0] ** 2)

    return residual


def constant(jet, x, c, r):
    return r[0] - 1.5, c[1] + 0 * r[0]


HEAT = LinearOperator({(0,): 1, (1, 1): -0.3})
CASES = {  # activation, derivatives, widths, points, residual, whether x is the jet of the inputs
    "burgers": ("tanh", [(0,), (1,), (1, 1)], (2, 20, 20, 20, 1), 301, system, False),
    "one point": ("sin", [(0,), (0, 1)], (2, 9, 3), 1, system, False),
    "one layer": ("tanh", [(1,), (0,)], (2, 1), 37, of_coordinates(2, 0), False),
    "one layer of a jet": ("tanh", [(1,), (0, 0)], (3, 2), 37, system, True),
    "one parameter and its bias": ("tanh", [(0,)], (1, 1), 9, system, False),
    "third order": ("sigmoid", [(0, 1, 1), (1,)], (2, 7, 5, 2), 50, of_coordinates(2, 1), False),
    "fourth order": ("silu", [(0, 0, 1, 1)], (2, 5, 4, 1), 33, of_coordinates(1, 0), False),
    "an operator": (
        "gelu",
        [HEAT, Laplacian(0, 1)],
        (2, 33, 5, 2),
        129,
        of_coordinates(2, 1),
        False,
    ),
    "a jet": ("gelu_tanh", [(0,), (1, 1)], (4, 20, 7, 1), 140, system, True),
    "a wide layer": ("softplus", [(1,)], (1 + 2, 70, 3), 200, system, False),
    "one panel exactly": ("tanh", [(0,)], (2, 7, 1), 64, of_coordinates(1, 0), False),
    "no derivatives": ("relu", [], (3, 10, 10, 2), 100, of_coordinates(0, 1), False),
    "a kink": ("elu", [(0,), (2,)], (3, 6, 1), 47, of_coordinates(2, 0), False),
    "no gradient": ("tanh", [(0,)], (2, 4, 1), 20, constant, False),
}


def subject(case, dtype=torch.float64, device="cpu"):
    """The network, with x perhaps a jet; coefficients and columns."""
    _, derivatives, widths, points, _, has_jet_x = CASES[case]
    network = Network.random(widths, points, dtype, device)
    generator = torch.Generator().manual_seed(4)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)

    if has_jet_x:
        jet = normal(1 + len(ops.input_channels(derivatives)), points, widths[0])
        network = network.of([jet, *network.tensors[1:]])
    return network, normal(2), normal(2, points)


def options(case):
    activation, derivatives, *_, residual, _ = CASES[case]
    return activation, derivatives, record_residual(residual)


def exact_results(case, network, coefficients, columns):
    """(r, J^T), (loss, gradient, gram)"""
    activation, derivatives, *_, residual, _ = CASES[case]
    rest = activation, derivatives, residual, coefficients, columns
    r, transposed = residual_jacobian(*network.parts, *rest)
    flat, points = transposed.flatten(1), r.shape[1]
    products = r.square().sum(), flat @ r.flatten(), flat @ flat.T
    return (r, transposed), tuple(product / points for product in products)


@pytest.mark.parametrize("case", CASES)
def test_values(device, case):
    network, *others = subject(case, device=device)
    jacobian, gram = exact_results(case, network, *others)
    arguments = *network.parts, *options(case), *others
    found = *ops.jet_mlp_residual_jacobian(*arguments), *ops.jet_mlp_gram(*arguments)
    for a, b in zip(found, (*jacobian, *gram), strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)
    assert_close(ops.jet_mlp_residual(*arguments), jacobian[0], FLOAT64)
    assert torch.equal(found[4], found[4].T)


@pytest.mark.parametrize("case", CASES)
def test_float32(device, case):
    network, *others = subject(case, torch.float32, device)
    double = network.map(torch.Tensor.double)
    exact = exact_results(case, double, *(t.double() for t in others))
    activation, derivatives, program = options(case)
    arguments = *network.parts, activation, derivatives, program, *others
    encoded = *network.parts, activation, *encode("", derivatives), *program, *others
    pairs = zip(("residual_jacobian", "gram"), exact, strict=True)
    for name, results in pairs:
        found = getattr(ops, f"jet_mlp_{name}")(*arguments)
        by_torch = getattr(reference, f"jet_mlp_{name}")(*encoded)
        for triple in zip(found, by_torch, results, strict=True):
            assert triple[0].dtype == torch.float32
            assert_as_good_as_torch(*triple)


@pytest.mark.parametrize("activation", [*SMOOTH, *KINKED])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_activations(device, activation, order):
    if activation in KINKED and order > 1:
        return
    derivatives = [(1,) * order] if order else []
    network = Network.random((2, 6, 5, 1), 21, device=device)
    coefficients, columns = torch.tensor([0.3, 1.2]).to(network.x), network.x.T.contiguous()
    arguments = *network.parts, activation, derivatives
    residual = of_coordinates(len(derivatives), 0)
    exact = residual_jacobian(*arguments, residual, coefficients, columns)
    program = record_residual(residual)
    found = ops.jet_mlp_residual_jacobian(*arguments, program, coefficients, columns)
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)


@settings(max_examples=60)
@given(
    points=st.integers(1, 700),
    widths=st.lists(st.integers(1, 24), min_size=0, max_size=3),
    equations=st.integers(1, 3),
    count=st.sampled_from([1, 2, 5]),
    single=st.booleans(),
)
def test_gram_is_the_jacobians_product(points, widths, equations, count, single):
    """Whatever the tiles, panels and slabs."""
    network = Network.random((2, *widths, 1), points)
    if single:
        network = network.map(torch.Tensor.float)
    program = record_residual(
        lambda jet, x, c: (jet[1, 0], jet[2, 0] * c[0], x[1] * jet[0, 0])[:equations]
    )
    coefficients = torch.tensor([0.7]).to(network.x)
    arguments = *network.parts, "tanh", [(0,), (1, 1)], program, coefficients
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        loss, gradient, gram = ops.jet_mlp_gram(*arguments)
        again = ops.jet_mlp_gram(*arguments)
        r, transposed = ops.jet_mlp_residual_jacobian(*arguments)
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, again, (loss, gradient, gram)))  # the same bits
    r, transposed = r.double(), transposed.double().flatten(1)
    limit = torch.finfo(torch.float32).eps if single else FLOAT64  # the result is rounded
    assert_close(loss, r.square().sum() / points, limit)
    assert_close(gram, transposed @ transposed.T / points, limit)
    scale = transposed.norm() * r.norm() / points  # the products may cancel
    assert (gradient - transposed @ r.flatten() / points).abs().max() <= limit * scale


def test_it_is_that_of_the_loss(device):
    """The gradient is half that of the loss."""
    network, *others = subject("burgers", device=device)
    leaves = network.leaves()
    arguments = options("burgers")
    loss = ops.jet_mlp_loss(*leaves.parts, *arguments, *others)
    pairs = [t for pair in zip(leaves.weights, leaves.biases, strict=True) for t in pair]
    grads = torch.autograd.grad(loss, pairs)
    with torch.no_grad():
        found = ops.jet_mlp_gram(*network.parts, *arguments, *others)
    assert_close(found[0], loss, FLOAT64)
    gradient = torch.cat([grad.flatten() for grad in grads])
    assert_close(2 * found[1][: len(gradient)], gradient, FLOAT64_GRADIENT)


def test_layouts(device):
    """Arguments that are not contiguous, and no points."""
    network, coefficients, columns = subject("burgers", device=device)
    rest = options("burgers")
    exact = ops.jet_mlp_gram(*network.parts, *rest, coefficients, columns)
    strided = network.map(lambda t: t.t().contiguous().t() if t.dim() == 2 else t)
    twice = coefficients.repeat_interleave(2)[::2]
    found = ops.jet_mlp_gram(*strided.parts, *rest, twice, columns.T.contiguous().T)
    for a, b in zip(found, exact, strict=True):
        assert torch.equal(a, b)
    x, *parts = network.parts
    r, transposed = ops.jet_mlp_residual_jacobian(
        x[:0], *parts, *rest, coefficients, columns[:, :0]
    )
    assert (r.shape, transposed.shape) == ((3, 0), (len(exact[1]), 3, 0))
    with pytest.raises(ValueError, match=r"^jet_mlp_gram: x: expected at least one point, got"):
        ops.jet_mlp_gram(x[:0], *parts, *rest, coefficients, columns[:, :0])


def test_points_that_are_no_numbers_spoil_what_they_reach(device):
    """NaN at the last point, which pads its tile, is not hidden; nor does padding add any."""
    network = Network.random((1, 4, 1), 21, device=device)
    program = record_residual(lambda jet, x, c: (jet[0, 0] * 0 + x[0]).sqrt())
    x = network.x.abs()
    x[-1] = 0.0  # the root's derivative is infinite, and 0 * inf is NaN
    call = network.weights, network.biases, "tanh", [], program
    r, transposed = ops.jet_mlp_residual_jacobian(x, *call)
    assert r.isfinite().all()
    assert transposed[..., :-1].isfinite().all()
    assert transposed[..., -1].isnan().any()
    assert ops.jet_mlp_gram(x, *call)[2].isnan().any()
    assert ops.jet_mlp_gram(x[:-1], *call)[2].isfinite().all()


def wide_network(units=3_000_000):
    """Of 3 units numbers that take no memory."""
    return torch.ones(1, 2), [torch.zeros(1).expand(units, 2)], [torch.zeros(1).expand(units)]


def test_too_large_a_matrix(device, monkeypatch):
    """For the memory that is free, and for that of the machine where the op is called itself."""
    if device != "cpu":
        pytest.skip("the allocator of the device says so")
    program, parts = ResidualProgram((4, 0, 0, 0, 0, 0), ()), wide_network()
    text = (
        r"(?s)^jet_mlp_gram: weights: expected a Gram matrix that fits into .* of memory.*, got "
        r"9000000 parameters and coefficients, .*; use jet_mlp_residual_jacobian on chunks"
    )
    with pytest.raises(MemoryError, match=text):
        ops.jet_mlp_gram(*parts, "tanh", [], program)
    monkeypatch.setattr("pyneural.ops.jet.checks.available_memory", lambda device: None)
    with pytest.raises(ValueError, match=text):
        ops.jet_mlp_gram(*parts, "tanh", [], program)


def test_too_large_a_matrix_for_the_limit_of_a_job(device, monkeypatch):
    program, units = ResidualProgram((4, 0, 0, 0, 0, 0), ()), 1000
    needed = (3 * units) ** 2 * 8
    for free, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr("pyneural.ops.jet.checks.available_memory", lambda device, f=free: f)
        x, weights, biases = wide_network(units)
        arguments = x.to(device), [w.to(device) for w in weights], [b.to(device) for b in biases]
        if fits:
            assert ops.jet_mlp_gram(*arguments, "tanh", [], program)[2].shape == (3 * units,) * 2
            continue
        with pytest.raises(MemoryError, match=r"the 72.0 MB of memory that are free, got 3000"):
            ops.jet_mlp_gram(*arguments, "tanh", [], program)


def test_made_of_the_ops_of_the_jet(monkeypatch):
    """As on devices that have kernels for these alone, in chunks of points."""
    monkeypatch.setattr("pyneural.ops.reference.least_squares._CHUNK", 3000)
    for case in ("burgers", "a jet", "one layer of a jet", "no gradient"):
        network, *others = subject(case)
        activation, derivatives, program = options(case)
        exact = exact_results(case, network, *others)
        encoded = *network.parts, activation, *encode("", derivatives), *program, *others
        for name, results in zip(("residual_jacobian", "gram"), exact, strict=True):
            found = getattr(reference, f"jet_mlp_{name}")(*encoded, by=torch.ops.pyneural)
            for a, b in zip(found, results, strict=True):
                assert_close(a, b, FLOAT64_GRADIENT)


def test_meta_tensors():
    network, *others = subject("burgers")
    arguments = *network.map(lambda t: t.to("meta")).parts, *options("burgers")
    others = [t.to("meta") for t in others]
    for name in ("residual", "residual_jacobian", "gram"):
        op = getattr(ops, f"jet_mlp_{name}")
        exact = op(*network.parts, *options("burgers"), *subject("burgers")[1:])
        found = op(*arguments, *others)
        pairs = ((found,), (exact,)) if name == "residual" else (found, exact)
        for a, b in zip(*pairs, strict=True):
            assert (a.shape, a.dtype, a.device.type) == (b.shape, b.dtype, "meta")
