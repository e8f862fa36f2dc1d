"""Derivatives of residuals along a path of parameters, against torch's own functions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import forward_ad, gradcheck
from torch.library import opcheck

from pyneural import ops
from pyneural.ops import record_residual, reference
from pyneural.ops.jet.residual import FUNCTIONS
from tests.ops.networks import KINKED, SMOOTH
from tests.ops.paths import CASES, ORDERS, Case
from tests.tolerances import (
    FLOAT64,
    PATH_BY_INTERPOLATION,
    PATH_BY_NESTED_FORWARD_MODE,
    assert_as_good_as_torch,
    assert_close,
)

OP = torch.ops.pyneural.jet_mlp_path


@pytest.mark.parametrize("name", CASES)
def test_against_interpolation(device, name):
    case = CASES[name](device=device)
    found, exact = case.found(), case.exact()
    assert found.shape == exact.shape
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, PATH_BY_INTERPOLATION)


@pytest.mark.parametrize("activation", SMOOTH)
def test_smooth_activations(device, activation):
    derivatives = (0,), (1, 1), (0, 1, 1), (0, 0, 1, 1)

    def residual(jet, x, c):
        return jet[1, 0] * jet[2, 1] + jet[3, 0], jet[4, 1] - jet[0, 0]

    case = Case(residual, derivatives, activation=activation, device=device)
    for a, b in zip(case.found(), case.exact(), strict=True):
        assert_close(a, b, PATH_BY_INTERPOLATION)
    lower = Case(lambda jet, x, c: jet[1, 0] * jet[0, 1], ((1,),), activation=activation)
    for a, b in zip(lower.found(), lower.exact(), strict=True):
        assert_close(a, b, PATH_BY_INTERPOLATION)


@pytest.mark.parametrize("activation", [*SMOOTH, *KINKED])
def test_against_nested_forward_mode(device, activation):
    case = Case(
        lambda jet, x, c: jet[1, 0] * jet[0, 1] + c[0], ((0,),), (2, 4, 2), points=3, count=1,
        activation=activation, device=device,
    )  # fmt: skip
    order = 4 if activation == "tanh" else 3  # each takes three times as long as the one before
    for a, b in zip(case.found(order), case.nested(order), strict=True):
        assert_close(a, b, PATH_BY_NESTED_FORWARD_MODE)
    assert_close(reference.jet_mlp_path(*case.schema), case.found(), FLOAT64)


@pytest.mark.parametrize("name", CASES)
def test_lower_derivatives_need_no_higher(device, name):
    case = CASES[name](device=device)
    whole = case.found()
    for order in ORDERS:
        assert_close(case.found(order), whole[:order], FLOAT64)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_residuals(device, name):
    function = FUNCTIONS[name]

    def residual(jet, x, c):
        # Positive and away from zero, where a root or a logarithm is not analytic.
        operands = 1.2 + 0.5 * jet[0, 0].sin(), 0.8 + 0.3 * jet[0, 1].tanh()
        return getattr(torch, name)(*operands[: function.operands])

    case = Case(residual, (), device=device)
    for a, b in zip(case.found(), case.exact(), strict=True):
        assert_close(a, b, PATH_BY_INTERPOLATION)
    assert_close(reference.jet_mlp_path(*case.schema), case.found(), FLOAT64)


def test_a_residual_that_the_path_does_not_reach(device):
    case = Case(lambda jet, x, c: (3 * x[0], jet[0, 0]), (), device=device)
    found = case.found()
    assert (found[:, 0] == 0).all()
    assert (found[:, 1] != 0).all()


@pytest.mark.parametrize("points", [1, 2, 7, 8, 9, 17, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_are_alone(points, dtype):
    case = CASES["columns"](points=points, dtype=dtype)
    x, columns, whole = case.network.x, case.columns, case.found()
    for n in {0, points // 2, points - 1}:
        case.network = case.network.of([x[n : n + 1], *case.network.tensors[1:]])
        case.columns = columns[:, n : n + 1]
        limit = FLOAT64 if dtype == torch.float64 else 1e-4
        assert_close(case.found()[:, :, 0], whole[:, :, n], limit)


@pytest.mark.parametrize("widths", [(2, 70, 67, 2), (3, 1, 1, 2), (2, 130, 2), (2, 8, 8, 8, 8, 2)])
def test_many_tiles(device, widths):
    """Widths and points that no tile is a multiple of, against J v."""
    case = CASES["columns"](widths=widths, points=1003, device=device)
    jacobian = ops.jet_mlp_residual_jacobian(*case.arguments)[1]
    assert_close(case.found(1)[0], torch.einsum("men,m->en", jacobian, case.path[0]), FLOAT64)
    last = slice(1000, 1003)
    whole, x = case.found(), case.network.x
    case.network = case.network.of([x[last], *case.network.tensors[1:]])
    case.columns = case.columns[:, last]
    assert_close(whole[:, :, last], case.found(), FLOAT64)


def test_threads_change_nothing():
    case = CASES["a system"](widths=(2, 40, 40, 2), points=2000)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = case.found()
        torch.set_num_threads(2)
        assert_close(case.found(), one, FLOAT64)
        assert torch.equal(case.found(), case.found())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("activation", [*SMOOTH, "relu", "elu"])
def test_float32(device, activation):
    last = 1 if activation in KINKED else 2
    derivatives = ((0,), (1, 1))[:last]
    options = {"activation": activation, "points": 50, "widths": (2, 20, 20, 1), "device": device}
    single, double = (
        Case(
            lambda jet, x, c: jet[1, 0] * jet[0, 0] + jet[last, 0],
            derivatives,
            dtype=dtype,
            **options,
        )
        for dtype in (torch.float32, torch.float64)
    )
    # The same numbers: those of float32.
    double.network, double.path = single.network.map(torch.Tensor.double), single.path.double()
    double.coefficients = single.coefficients.double()
    by_torch = reference.jet_mlp_path(*single.schema)
    for triple in zip(single.found(), by_torch, double.found(), strict=True):
        assert_as_good_as_torch(*triple)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus", "silu", "gelu", "gelu_tanh"])
def test_saturated_activations(dtype, activation):
    """At z = +-50 derivatives are 0, or those of a straight line; nothing is NaN."""
    z = torch.tensor([[-50.0], [50.0]], dtype=dtype)
    one, zero = torch.ones(1, 1, dtype=dtype), torch.zeros(1, dtype=dtype)
    program = record_residual(lambda jet, x, c: (jet[0, 0], jet[1, 0]))
    path = torch.tensor([[0.3, 0.2, 0.0, 0.0]] + [[0.0] * 4] * 3, dtype=dtype)
    found = ops.jet_mlp_path(z, [one, one], [zero, zero], activation, [(0, 0)], program, path=path)
    slope = {"tanh": (0, 0), "sigmoid": (0, 0)}.get(activation, (0, 1))
    expected = torch.zeros(4, 2, 2, dtype=dtype)
    expected[0, 0] = torch.tensor(slope, dtype=dtype) * (0.3 * z[:, 0] + 0.2)
    assert torch.allclose(found, expected, atol=1e-4 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("name", ["log", "sqrt", "div"])
def test_small_arguments(name):
    """Derivatives near where a function is singular: relative to their own size."""
    like = {"dtype": torch.float64}
    scale, path = 1e-6, torch.tensor([[0.0, 1e-7]] + [[0.0, 0.0]] * 3, **like)
    x, weight, bias = (
        torch.zeros(3, 1, **like),
        torch.ones(1, 1, **like),
        torch.full((1,), 1e-6, **like),
    )
    functions = {
        "log": (torch.log, [1.0, -1.0, 2.0, -6.0]),
        "sqrt": (torch.sqrt, [0.5, -0.25, 0.375, -0.9375]),
        "div": (lambda u: 1 / u, [-1.0, 2.0, -6.0, 24.0]),
    }
    function, factors = functions[name]
    program = record_residual(lambda jet, x, c: function(jet[0, 0]))
    found = ops.jet_mlp_path(x, [weight], [bias], "tanh", [], program, path=path)
    power = {"log": 0.0, "sqrt": 0.5, "div": -1.0}[name]
    for k, factor in zip(ORDERS, factors, strict=True):
        exact = factor * scale ** (power - k) * 1e-7**k
        assert torch.allclose(found[k - 1], torch.tensor(exact, **like), rtol=1e-12)


def test_abs_at_a_kink():
    x, weight = torch.tensor([[-1.0], [0.0], [1.0]]), torch.ones(1, 1)
    program = record_residual(lambda jet, x, c: abs(jet[0, 0]))
    path = torch.tensor([[0.0, 2.0], [0.0, 3.0]])
    found = ops.jet_mlp_path(x, [weight], [torch.zeros(1)], "tanh", [], program, path=path)
    assert found[:, 0].tolist() == [[-2.0, 0.0, 2.0], [-3.0, 0.0, 3.0]]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("place", ["x", "weight", "path", "column"])
def test_what_is_not_finite_spoils_what_it_reaches(value, place):
    case = CASES["columns"](points=20)
    targets = {
        "x": case.network.x,
        "weight": case.network.weights[1],
        "path": case.path,
        "column": case.columns,
    }
    targets[place][0, 3 if place == "column" else 0] = value
    finite = case.found()[:, 0].isfinite().all(0)  # of each point
    if place in ("weight", "path"):
        assert not finite.any()
    else:
        assert finite.logical_not().nonzero().flatten().tolist() == [0 if place == "x" else 3]


def test_layouts(device):
    case = CASES["columns"](device=device, points=9)
    exact = case.found()
    case.network = case.network.map(lambda t: t.t().contiguous().t() if t.dim() == 2 else t)
    case.columns = case.columns.t().contiguous().t()
    case.path = torch.stack((case.path, case.path), 2)[..., 1]
    assert torch.equal(case.found(), exact)


def test_no_points():
    case = CASES["columns"](points=2)
    case.network = case.network.of([case.network.x[:0], *case.network.tensors[1:]])
    case.columns = case.columns[:, :0]
    assert case.found().shape == (4, 2, 0)


@pytest.mark.parametrize("name", CASES)
def test_reference(device, name):
    case = CASES[name](device=device)
    assert_close(reference.jet_mlp_path(*case.schema), case.found(), FLOAT64)


def test_autograd_and_transforms(device):
    case = CASES["columns"](widths=(2, 3, 2), points=2, device=device)
    *tensors, coefficients, columns, path = (
        t.clone().requires_grad_()
        for t in (*case.network.tensors, case.coefficients, case.columns, case.path[:2])
    )

    def function(coefficients, columns, path, *tensors):
        options = "tanh", case.derivatives, case.program
        return ops.jet_mlp_path(
            *case.network.of(tensors).parts, *options, coefficients, columns, path=path
        )

    inputs = coefficients, columns, path, *tensors
    assert gradcheck(function, inputs, fast_mode=True)
    by_func = torch.func.grad(lambda path: function(*inputs[:2], path, *tensors).square().sum())
    function(*inputs).square().sum().backward()
    assert_close(by_func(path.detach()), path.grad, FLOAT64)
    paths = torch.stack([path.detach(), 2 * path.detach(), 0 * path.detach()])
    detached = [t.detach() for t in inputs]
    batched = torch.func.vmap(lambda p: function(*detached[:2], p, *detached[3:]))(paths)
    for p, result in zip(paths, batched, strict=True):
        assert_close(result, function(*detached[:2], p, *detached[3:]), FLOAT64)
    tangent = torch.func.jvp(lambda p: function(*detached[:2], p, *detached[3:]),
                             (detached[2],), (detached[2],))[1]  # fmt: skip
    assert_close(tangent[0], function(*detached)[0], FLOAT64)  # which is linear in the path
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(detached[2], detached[2])
        found = forward_ad.unpack_dual(function(*detached[:2], dual, *detached[3:])).tangent
        assert_close(found, tangent, FLOAT64)


def test_compile(device):
    case = CASES["columns"](device=device)

    def function(x, path):
        parts = x, case.network.weights, case.network.biases
        options = case.derivatives, case.program, case.coefficients, case.columns
        return ops.jet_mlp_path(*parts, "tanh", *options, path=2 * path) + 1

    arguments = case.network.x, case.path
    gradient = torch.func.grad(lambda *arguments: function(*arguments).square().sum(), argnums=1)
    for each in (function, gradient):
        compiled = torch.compile(each, fullgraph=True, backend="aot_eager")
        assert_close(compiled(*arguments), each(*arguments), FLOAT64)


def test_opcheck(device):
    case = CASES["columns"](device=device)
    opcheck(OP, case.schema)


@pytest.mark.parametrize("which", ["x", "path"])
def test_half_precision_under_autocast(which):
    case = CASES["a system"](dtype=torch.float32)
    x, *others = case.arguments
    half = {"x": x, "path": case.path}
    half[which] = half[which].bfloat16()
    with torch.autocast("cpu"):
        found = ops.jet_mlp_path(half["x"], *others, path=half["path"])
    expected = ops.jet_mlp_path(half["x"].float(), *others, path=half["path"].float())
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda path: path[0], r"path: expected shape \[K, 50\], K from 1 to 4, got \[50\]; a"),
        (lambda path: path[:0], r"path: expected shape \[K, 50\], K from 1 to 4, got \[0, 50\]"),
        (lambda path: torch.cat((path, path)), r"K from 1 to 4, got \[8, 50\]"),
        (lambda path: path[:, 1:], r"path: expected shape \[4, 50\], got \[4, 49\]; give each"),
        (lambda path: path.float(), "path: expected Double like x, got Float; convert one of"),
    ],
)
def test_a_wrong_path(wrong, text):
    case = CASES["a system"]()
    path = wrong(case.path)
    with pytest.raises(ValueError, match=f"^jet_mlp_path: .*{text}"):
        ops.jet_mlp_path(*case.arguments, path=path)


def test_other_wrong_arguments():
    case = CASES["a system"]()
    arguments = [*case.arguments]
    with pytest.raises(ValueError, match=r"^jet_mlp_path: residual: expected a ResidualProgram"):
        ops.jet_mlp_path(*arguments[:5], "u_xx", path=case.path)
    with pytest.raises(ValueError, match=r"^jet_mlp_path: activation: expected one of"):
        ops.jet_mlp_path(*arguments[:3], "swish", *arguments[4:], path=case.path)
    with pytest.raises(ValueError, match=r"^jet_mlp_path: coefficients: expected a 1-d tensor"):
        ops.jet_mlp_path(*arguments[:6], case.coefficients[0], path=case.path)
