"""ops.rational_quadratic_spline against the formulas of the paper and against zuko."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from pyneural import ops
from tests.ops.by_torch import second_derivatives
from tests.tolerances import (
    FLOAT64,
    FLOAT64_GRADIENT,
    SPLINE_ERROR_RATIO,
    assert_as_good_as_torch,
    assert_close,
)

spline = ops.rational_quadratic_spline
BOUND, SLOPE = 3.0, 1e-3
# Leading dimensions and bins: one point and bin, off every vector, several threads, many bins.
SHAPES = [((), 1), ((7,), 2), ((33, 1), 5), ((2, 5, 3), 8), ((700, 7), 16), ((19,), 64)]
for_both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
for_both_types = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def arguments(leading, bins, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(bins)

    def normal(*shape):
        return torch.randn((*leading, *shape), generator=generator, dtype=torch.float64)

    parameters = [scale * normal(n) for n in (bins, bins, bins - 1)]
    return [tensor.to(dtype) for tensor in (2 * normal(), *parameters)]


def knots(widths, heights, derivatives, bound=BOUND, slope=SLOPE):
    """Positions [..., K + 1] and derivatives of the knots."""
    limit = -math.log(slope)
    sizes = (t / (1 + (2 * t / limit).abs()) for t in (widths, heights))
    ends = (F.pad(t.softmax(-1).cumsum(-1), (1, 0)) for t in sizes)
    x, y = (bound * (2 * t - 1) for t in ends)
    return x, y, F.pad(derivatives / (1 + (derivatives / limit).abs()), (1, 1)).exp()


def by_paper(x, widths, heights, derivatives, bound=BOUND, slope=SLOPE, inverse=False):
    """Durkan et al. 2019, eqs. 4, 5 and 29."""
    left, bottom, d = knots(widths, heights, derivatives, bound, slope)
    is_inside = x.abs() <= bound
    point = torch.where(is_inside, x, 0)
    k = ((bottom if inverse else left)[..., 1:-1] < point[..., None]).sum(-1, keepdim=True)
    x0, x1, y0, y1, d0, d1 = (
        t.gather(-1, k + i)[..., 0] for t in (left, bottom, d) for i in (0, 1)
    )
    s = (y1 - y0) / (x1 - x0)
    if inverse:
        rise, curvature = point - y0, d0 + d1 - 2 * s
        a = (y1 - y0) * (s - d0) + rise * curvature
        b = (y1 - y0) * d0 - rise * curvature
        c = -s * rise
        z = 2 * c / (-b - (b * b - 4 * a * c).sqrt())
    else:
        z = (point - x0) / (x1 - x0)
    denominator = s + (d0 + d1 - 2 * s) * z * (1 - z)
    slope_ = s**2 * (d1 * z**2 + 2 * s * z * (1 - z) + d0 * (1 - z) ** 2) / denominator**2
    if inverse:
        y, ladj = x0 + z * (x1 - x0), -slope_.log()
    else:
        y, ladj = y0 + (y1 - y0) * (s * z**2 + d0 * z * (1 - z)) / denominator, slope_.log()
    return torch.where(is_inside, y, x), torch.where(is_inside, ladj, 0)


def value_and_gradients(function, tensors, **options):
    """[y, ladj, the gradients of a function of both for x and the parameters]."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    options = {"bound": BOUND, "slope": SLOPE} | options
    y, ladj = function(*leaves, **options)
    weight = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)
    loss = (weight * y + (1 - weight) * ladj).sum()
    return [y, ladj, *torch.autograd.grad(loss, leaves, materialize_grads=True)]


LIMITS = (FLOAT64, FLOAT64, *[FLOAT64_GRADIENT] * 4)


@for_both_ways
@pytest.mark.parametrize(("leading", "bins"), SHAPES, ids=str)
def test_against_the_paper(leading, bins, inverse):
    tensors = arguments(leading, bins)
    exact, found = (
        value_and_gradients(function, tensors, inverse=inverse) for function in (by_paper, spline)
    )
    for one, other, limit in zip(found, exact, LIMITS, strict=True):
        assert_close(one, other, limit)


@for_both_ways
@pytest.mark.parametrize("bins", [3, 8, 32])
def test_float32(bins, inverse):
    tensors = arguments((1000, 3), bins, torch.float32, scale=0.5)
    wide = [tensor.double() for tensor in tensors]
    exact = value_and_gradients(by_paper, wide, inverse=inverse)
    theirs = value_and_gradients(by_paper, tensors, inverse=inverse)
    found = value_and_gradients(spline, tensors, inverse=inverse)
    for triple in zip(found, theirs, exact, strict=True):
        assert_as_good_as_torch(*triple, SPLINE_ERROR_RATIO)


@for_both_types
@for_both_ways
def test_one_bin_is_the_identity(inverse, dtype):
    tensors = arguments((50,), 1, dtype)
    y, ladj, of_x, *of_parameters = value_and_gradients(spline, tensors, inverse=inverse)
    luck = 16 * torch.finfo(dtype).eps
    assert_close(y, tensors[0], luck)
    assert ladj.abs().max() <= luck
    assert_close(of_x, torch.linspace(-1, 2, 50, dtype=dtype), luck)
    assert not any(gradient.any() for gradient in of_parameters)


@for_both_ways
def test_zuko(inverse):
    transforms = pytest.importorskip("zuko.transforms")

    def by_zuko(x, *parameters, bound, slope, inverse):
        transform = transforms.MonotonicRQSTransform(*parameters, bound=bound, slope=slope)
        if not inverse:
            return transform.call_and_ladj(x)
        y = transform.inv(x)
        return y, -transform.call_and_ladj(y)[1]

    tensors = arguments((2000, 3), 8, scale=0.5)
    exact, found = (value_and_gradients(f, tensors, inverse=inverse) for f in (by_zuko, spline))
    for one, other, limit in zip(found, exact, LIMITS, strict=True):
        assert_close(one, other, limit)
    single = [tensor.float() for tensor in tensors]
    theirs, found = (value_and_gradients(f, single, inverse=inverse) for f in (by_zuko, spline))
    exact = value_and_gradients(by_zuko, [t.double() for t in single], inverse=inverse)
    for triple in zip(found, theirs, exact, strict=True):
        assert_as_good_as_torch(*triple)


@for_both_ways
@pytest.mark.parametrize("bins", [1, 4])
def test_gradcheck(bins, inverse):
    leaves = [tensor.requires_grad_() for tensor in arguments((3,), bins)]
    function = partial(spline, bound=2.0, slope=0.01, inverse=inverse)
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@for_both_ways
def test_second_derivatives(inverse):
    tensors = arguments((30, 2), 6)

    def function(spline, *tensors):
        y, ladj = spline(*tensors, bound=BOUND, slope=SLOPE, inverse=inverse)
        return y.sin() + y * ladj

    for needed in ([True] * 4, [True, False, False, False], [False, True, False, True]):
        found, exact = (
            second_derivatives(partial(function, f), tensors, needed) for f in (spline, by_paper)
        )
        for one, other in zip(found, exact, strict=True):
            assert_close(one, other, FLOAT64_GRADIENT)


@for_both_ways
def test_one_output_alone(inverse):
    tensors = arguments((9,), 4)
    for output in (0, 1):
        found, exact = (
            value_and_gradients(
                lambda *t, f=f, i=output, **o: (f(*t, **o)[i], tensors[0]),
                tensors,
                inverse=inverse,
            )
            for f in (spline, by_paper)
        )
        for one, other in zip(found, exact, strict=True):
            assert_close(one, other, FLOAT64_GRADIENT)


@for_both_ways
def test_opcheck_and_compile(inverse):
    tensors = arguments((6, 2), 4)
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    op = torch.ops.pyneural.rational_quadratic_spline.default
    torch.library.opcheck(op, (*leaves, BOUND, SLOPE, inverse))
    compiled = torch.compile(spline, fullgraph=True)
    found = value_and_gradients(compiled, tensors, inverse=inverse)
    exact = value_and_gradients(spline, tensors, inverse=inverse)
    for one, other in zip(found, exact, strict=True):
        assert_close(one, other, FLOAT64)


@for_both_ways
def test_torch_func(inverse):
    x, *parameters = arguments((5,), 4)

    def function(x, *parameters):
        return spline(x, *parameters, bound=BOUND, inverse=inverse)[0]

    slope = torch.func.vmap(torch.func.grad(function))(x, *parameters)
    ladj = spline(x, *parameters, bound=BOUND, inverse=inverse)[1]
    assert_close(slope.log(), ladj, FLOAT64)
    forward = torch.func.jvp(
        function, (x, *parameters), (torch.ones_like(x), *map(torch.zeros_like, parameters))
    )[1]
    assert_close(forward.log(), ladj, FLOAT64)
    jacobians = [
        jacobian(function, (0, 1, 2, 3))(x, *parameters)
        for jacobian in (torch.func.jacrev, torch.func.jacfwd)
    ]
    for one, other in zip(*jacobians, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)


def test_autocast_computes_in_float32():
    tensors = arguments((6, 2), 4, torch.float32)
    lower = [tensors[0], *(tensor.bfloat16() for tensor in tensors[1:])]
    with torch.autocast("cpu"):
        found = spline(*lower)
    for one, other in zip(found, spline(*(t.float() for t in lower)), strict=True):
        assert one.dtype is torch.float32
        assert torch.equal(one, other)


@for_both_ways
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_lower_precisions_are_rounded_once(dtype, inverse):
    tensors = arguments((40, 2), 4, dtype)
    found = value_and_gradients(spline, tensors, inverse=inverse)
    exact = value_and_gradients(spline, [t.double() for t in tensors], inverse=inverse)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype is dtype
        assert_close(one, other, 2 * torch.finfo(dtype).eps)


@for_both_ways
def test_shapes_broadcast(inverse):
    x, *_ = arguments((6, 3), 4)
    widths, heights, derivatives = arguments((3,), 4)[1:]
    parameters = widths, heights[:1], derivatives[None]
    found = value_and_gradients(spline, (x, *parameters), inverse=inverse)
    exact = value_and_gradients(
        lambda x, *p, **o: by_paper(x, *(t.expand(6, 3, -1) for t in p), **o),
        (x, *parameters),
        inverse=inverse,
    )
    for one, other, limit in zip(found, exact, LIMITS, strict=True):
        assert one.shape == other.shape
        assert_close(one, other, limit)
    one_point = spline(x[0, 0], widths, heights, derivatives)[0]
    assert one_point.shape == (3,)


@for_both_ways
def test_views_of_what_a_network_gives(inverse):
    """All parameters of a point beside each other, and other strides."""
    joined = torch.randn(50, 3, 3 * 5 - 1, dtype=torch.float64)
    parameters = joined.split([5, 5, 4], -1)
    x = 2 * torch.randn(3, 50, dtype=torch.float64).T
    for given_ in (parameters, [p.transpose(0, 1).contiguous().transpose(0, 1) for p in parameters],
                   [p.flip(-1) for p in parameters], [p[:1].expand(50, 3, -1) for p in parameters],
                   [p.repeat_interleave(2, -1)[..., ::2] for p in parameters]):  # fmt: skip
        found = value_and_gradients(spline, (x, *given_), inverse=inverse)
        contiguous = [t.contiguous() for t in (x, *given_)]
        exact = value_and_gradients(by_paper, contiguous, inverse=inverse)
        for one, other, limit in zip(found, exact, LIMITS, strict=True):
            assert_close(one, other, limit)
        y, _ = spline(x, *given_, bound=BOUND, inverse=inverse)
        assert torch.equal(y, spline(*contiguous, bound=BOUND, inverse=inverse)[0])


@pytest.mark.parametrize("leading", [(0,), (3, 0), (0, 4)])
def test_no_points(leading):
    tensors = arguments(leading, 4)
    results = value_and_gradients(spline, tensors)
    assert [t.shape for t in results] == [leading, leading, *(t.shape for t in tensors)]
    x, parameters = tensors[0], arguments((), 4)[1:]
    *_, of_widths, _, _ = value_and_gradients(spline, (x, *parameters))
    assert torch.equal(of_widths, torch.zeros(4, dtype=torch.float64))


@for_both_ways
def test_same_bits_on_every_run_and_number_of_threads(threads, inverse):
    tensors = arguments((3000, 5), 8, torch.float32)
    results = []
    for count in (1, 2, 2):
        threads(count)
        results.append(value_and_gradients(spline, tensors, inverse=inverse))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_smallest_slope_is_inside_a_flat_bin_between_steep_knots():
    far = 1e12  # what the limits are reached with
    widths, heights = torch.tensor([[far, -far], [-far, far]], dtype=torch.float64)
    x = torch.linspace(-BOUND, BOUND, 20_001, dtype=torch.float64)
    steep = widths.new_tensor([far])
    slope = ops.rational_quadratic_spline(x, widths, heights, steep, BOUND, 1e-2)[1].exp()
    # A bin of mean slope 0.01 between knots of slopes 1 and 100.
    assert 1e-6 < slope.min() < 5e-6
    assert 100 < slope.max() < 200


WRONG = {
    "x of whole numbers": ({"x": torch.zeros(4).long()}, "x: expected float32 or float64, got"),
    "a scalar as widths": ({"widths": torch.zeros(())}, "widths: expected the shape of x,"),
    "no bins": ({"widths": torch.zeros(4, 0)}, "widths: expected the shape of x, .* at least one"),
    "other heights": ({"heights": torch.zeros(4, 6)}, r"heights: expected shape \[4, 5\], got"),
    "K derivatives": ({"derivatives": torch.zeros(4, 5)}, r"derivatives: expected shape \[4, 4\]"),
    "another dtype": (
        {"heights": torch.zeros(4, 5, dtype=torch.float64)},
        "heights: expected Float like x",
    ),
    "other points": ({"x": torch.zeros(3)}, r"x: expected a shape that broadcasts .* got \[3\]"),
    "a list": ({"x": [0.0]}, "x: expected a tensor, got list; convert it with torch.as_tensor"),
    "bound 0": ({"bound": 0.0}, "bound: expected a number from"),
    "infinite bound": ({"bound": math.inf}, "bound: expected a number from"),
    "slope 1": ({"slope": 1.0}, "slope: expected a number from"),
    "slope 0": ({"slope": 0.0}, "slope: expected a number from"),
    "slope NaN": ({"slope": math.nan}, "slope: expected a number from"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    names = "x", "widths", "heights", "derivatives"
    parts = zip(names, arguments((4,), 5, torch.float32), strict=True)
    change, text = WRONG[case]
    with pytest.raises(ValueError, match=f"^rational_quadratic_spline: {text}"):
        spline(**dict(parts) | change)
