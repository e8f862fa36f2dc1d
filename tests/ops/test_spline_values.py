"""Where splines fail: far away, at knots, with extreme parameters, and there and back."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.test_spline import (
    BOUND,
    SLOPE,
    arguments,
    for_both_types,
    for_both_ways,
    knots,
    spline,
    value_and_gradients,
)
from tests.tolerances import FLOAT64, ROUND_TRIP, assert_close


@for_both_types
@for_both_ways
@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0, 1e30])
@pytest.mark.parametrize("bins", [1, 8, 64])
def test_values_and_gradients_are_finite(bins, scale, inverse, dtype):
    """Far away, at both bounds and beside them, and at every knot exactly."""
    x, *parameters = arguments((), bins, dtype, scale)
    at = knots(*parameters)[int(inverse)]
    bound = torch.tensor(BOUND, dtype=dtype)
    beside = [bound.nextafter(torch.tensor(away, dtype=dtype)) for away in (0.0, math.inf)]
    far = torch.tensor([0.0, -0.0, 1e-30, 1e6, -1e6, 3e38, -3e38], dtype=dtype)
    points = torch.cat(
        [far, bound[None], -bound[None], *(t[None] for b in beside for t in (b, -b))]
    )
    x = torch.cat([points, at, at.nextafter(bound), at.nextafter(-bound)])
    tensors = [x, *(p.expand(*x.shape, -1) for p in parameters)]
    for tensor in value_and_gradients(spline, tensors, inverse=inverse):
        assert tensor.isfinite().all()
    y, ladj = spline(*tensors, bound=BOUND, inverse=inverse)
    outside = x.abs() > BOUND
    assert torch.equal(y[outside], x[outside])
    assert not ladj[outside].any()
    assert (y[~outside].abs() <= BOUND * (1 + 4 * torch.finfo(dtype).eps)).all()


@for_both_types
@for_both_ways
def test_gradients_outside_are_those_of_the_identity(dtype, inverse):
    x = torch.tensor([math.inf, -math.inf, math.nan, 1e6, -1e6], dtype=dtype)
    parameters = [t.expand(5, -1) for t in arguments((), 4, dtype)[1:]]
    leaves = [t.clone().requires_grad_() for t in (x, *parameters)]
    y, ladj = spline(*leaves, inverse=inverse)
    assert torch.equal(y.nan_to_num(7.0), x.nan_to_num(7.0))
    assert not ladj.any()
    of_x, *others = torch.autograd.grad((y + ladj).sum(), leaves)
    assert (of_x == 1).all()
    assert not any(gradient.any() for gradient in others)


def test_a_parameter_that_is_nan_is_seen():
    tensors = arguments((), 4)
    for place in (1, 2):
        spoiled = list(tensors)
        spoiled[place] = torch.full_like(tensors[place], math.nan)
        assert all(tensor.isnan().all() for tensor in spline(*spoiled))


@for_both_types
def test_gradients_at_knots_are_continuous(dtype):
    """Also in the middle of a bin whose knots have equal derivatives, as a new network's have."""
    zeros = [torch.zeros(n, dtype=dtype) for n in (5, 5, 4)]
    at = torch.cat([knots(*zeros)[0], torch.tensor([0.0], dtype=dtype)])
    for inverse in (False, True):
        tensors = [at, *(t.expand(*at.shape, -1) for t in zeros)]
        y, _, of_x, *_ = value_and_gradients(
            lambda *t, **o: (spline(*t, **o)[0], torch.zeros_like(at)), tensors, inverse=inverse
        )
        weight = torch.linspace(-1, 2, len(at), dtype=dtype)
        assert_close(y, at, 4 * torch.finfo(dtype).eps)
        assert_close(of_x, weight, 1e-5 if dtype is torch.float32 else FLOAT64)


@for_both_types
@given(
    seed=st.integers(0, 2**32),
    points=st.integers(0, 40),
    bins=st.sampled_from([1, 2, 3, 8, 17, 64]),
    bound=st.sampled_from([0.5, 3.0, 20.0]),
    slope=st.sampled_from([1e-4, 1e-3, 0.1]),
    scale=st.sampled_from([0.0, 0.3, 1.0, 5.0]),
)
def test_round_trips(dtype, seed, points, bins, bound, slope, scale):
    generator = torch.Generator().manual_seed(seed)
    x, *parameters = (
        (size * torch.randn(points, *n, generator=generator, dtype=torch.float64)).to(dtype)
        for size, n in ((bound, ()), (scale, (bins,)), (scale, (bins,)), (scale, (bins - 1,)))
    )
    y, ladj = spline(x, *parameters, bound, slope)
    back, inverse_ladj = spline(y, *parameters, bound, slope, inverse=True)
    # y is rounded, which the inverse enlarges where the spline is flat.
    flatness = (-ladj).exp().clamp(min=1)
    assert ((back - x).abs() <= ROUND_TRIP[dtype] * x.abs().clamp(min=bound) * flatness).all()
    again, same_ladj = spline(back, *parameters, bound, slope)
    assert ((again - y).abs() <= ROUND_TRIP[dtype] * y.abs().clamp(min=bound)).all()
    if scale <= 1:  # else bins are too narrow for the rounding of x not to change the slope
        assert ((inverse_ladj + same_ladj).abs() <= 100 * ROUND_TRIP[dtype] * bins).all()


@for_both_types
def test_round_trip(dtype):
    x, *parameters = arguments((500, 3), 8, dtype, scale=0.5)
    y, ladj = spline(x, *parameters)
    back, inverse_ladj = spline(y, *parameters, inverse=True)
    assert (back - x).abs().max() <= ROUND_TRIP[dtype]
    assert (inverse_ladj + ladj).abs().max() <= 10 * ROUND_TRIP[dtype]


def test_the_derivative_is_at_least_about_the_slope():
    """Widths and heights alone: those of two bins are up to 1 / slope apart."""
    extreme = torch.tensor([1e9, -1e9], dtype=torch.float64)
    at = knots(extreme, -extreme, torch.zeros(1, dtype=torch.float64))
    ratio = at[1].diff() / at[0].diff()
    found = spline(at[0][1], extreme, -extreme, torch.zeros(1, dtype=torch.float64), BOUND)[0]
    assert_close(found, at[1][1], FLOAT64)
    assert ratio.min() == pytest.approx(SLOPE, rel=1e-6)
