"""The hand-written tanh of common/vector_math.h, through a network that is nothing but it."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from pyneural import ops
from tests.tolerances import TANH_ULP


def tanh(x: torch.Tensor) -> torch.Tensor:
    """tanh of x [N] as the kernels compute it: one unit, weights 1, biases 0."""
    ones, zeros = [x.new_ones(1, 1)] * 2, [x.new_zeros(1)] * 2
    return ops.jet_mlp(x[:, None], ones, zeros, "tanh", [])[0].flatten()


def positive_floats(every: int) -> torch.Tensor:
    """Each so-many-th positive float32, from 0 through the subnormal ones to infinity."""
    infinity = torch.tensor(math.inf).view(torch.int32).item()
    return torch.arange(0, infinity + 1, every, dtype=torch.int32).view(torch.float32)


def test_float32_within_its_bound(device):
    x = positive_floats(every=997).to(device)
    exact = torch.tanh(x.double())
    _, exponent = torch.frexp(exact)  # exact is in 2^exponent [1/2, 1)
    unit = torch.ldexp(torch.ones_like(exact), exponent.clamp(min=-125) - 24)
    assert float(((tanh(x).double() - exact).abs() / unit).max()) <= TANH_ULP[torch.float32]


def test_float64_within_its_bound(device):
    generator = torch.Generator().manual_seed(0)
    octave = 18 * torch.rand(20_000, generator=generator, dtype=torch.float64) - 13
    x = octave.exp2().to(device)  # 2^-13 .. 32
    with mpmath.workdps(40):
        errors = [
            abs(found - mpmath.tanh(number)) / math.ulp(float(mpmath.tanh(number)))
            for number, found in zip(x.tolist(), tanh(x).tolist(), strict=True)
        ]
    assert max(errors) <= TANH_ULP[torch.float64]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_odd_and_never_beyond_1(device, dtype):
    x = positive_floats(every=9973).to(device, dtype)
    assert torch.equal(tanh(-x), -tanh(x))
    assert float(tanh(x).max()) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_values(device, dtype):
    info = torch.finfo(dtype)
    # The sign of -0 does not reach it: a sum of products begins with +0.
    same = [0.0, -0.0, info.tiny, -info.tiny, info.smallest_normal * info.eps, math.nan]
    large = [30.0, -30.0, info.max, info.min, math.inf, -math.inf]
    x = torch.tensor([*same, *large], dtype=dtype, device=device)
    expected = torch.cat([x[: len(same)], x[len(same) :].sign()])
    torch.testing.assert_close(tanh(x), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("points", [1, 37])
def test_nan_stays_where_it_is(device, dtype, points):
    for where in range(points):
        x = torch.ones(points, dtype=dtype, device=device)
        x[where] = math.nan
        assert torch.equal(tanh(x).isnan(), x.isnan())
