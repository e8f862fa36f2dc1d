"""The hand-written exponential of common/exponential.h and what is made of it, against float64."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from pyneural import ops
from pyneural.ops.activations import VALUES

BY_EXPONENTIALS = ("sigmoid", "silu", "gelu", "gelu_tanh", "softplus")
ULP = 3  # of sigmoid: the exponential within 2, a sum and a quotient


def activation(x: torch.Tensor, name: str) -> torch.Tensor:
    """The activation of x [N] as the kernels compute it: one input, weight 1, no bias."""
    return ops.dense(x[:, None], x.new_ones(1, 1), None, name).flatten()


def grid(dtype: torch.dtype) -> torch.Tensor:
    """Numbers of all sizes and both signs, and the special ones."""
    sizes = torch.linspace(-40, 7.2, 4001, dtype=torch.float64).exp2()
    special = [0.0, math.inf, math.nan, torch.finfo(dtype).max, torch.finfo(dtype).tiny / 8]
    x = torch.cat([sizes, torch.linspace(80, 110, 3001).double(), torch.tensor(special).double()])
    return torch.cat([x, -x]).to(dtype)


def test_float32_sigmoid_within_its_bound():
    """Of a negative z it is exp(z), up to where exp(-z) overflows, as in torch."""
    x = grid(torch.float32)
    x = x[~(x < -88.7)]
    exact = torch.sigmoid(x.double())
    _, exponent = torch.frexp(exact)
    unit = torch.ldexp(torch.ones_like(exact), exponent.clamp(min=-125) - 24)
    error = (activation(x, "sigmoid").double() - exact).abs() / unit
    assert float(error[x == x].max()) <= ULP
    assert activation(x, "sigmoid").isnan().equal(x.isnan())


def test_float64_sigmoid_within_its_bound():
    x = torch.linspace(-709.7, 40, 20_011, dtype=torch.float64)
    with mpmath.workdps(40):
        errors = []
        for number, found in zip(x.tolist(), activation(x, "sigmoid").tolist(), strict=True):
            exact = 1 / (1 + mpmath.exp(-mpmath.mpf(number)))
            errors.append(abs(found - exact) / math.ulp(float(exact)))
    assert max(errors) <= ULP


def test_subnormal_numbers():
    """Of a very negative z, softplus is exp(z)."""
    for dtype, ends in ((torch.float32, (-103.9, -87)), (torch.float64, (-745.1, -708))):
        x = torch.linspace(*ends, 5001, dtype=dtype)
        with mpmath.workdps(40):
            exact = [mpmath.exp(mpmath.mpf(number)) for number in x.tolist()]
        unit = mpmath.mpf(torch.finfo(dtype).smallest_normal) * torch.finfo(dtype).eps
        found = activation(x, "softplus").tolist()
        assert max(abs(a - b) / unit for a, b in zip(found, exact, strict=True)) <= 4
        assert found[1000] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", BY_EXPONENTIALS)
def test_value_and_slope_are_those_of_torch(name, dtype):
    x = grid(dtype).requires_grad_()
    found = activation(x, name)
    (slope,) = torch.autograd.grad(found.sum(), x)
    exact_x = x.detach().double().requires_grad_()
    exact = VALUES[name](exact_x)
    (exact_slope,) = torch.autograd.grad(exact.sum(), exact_x)
    error = 3e-6 if dtype == torch.float32 else 1e-14
    options = {"rtol": error, "atol": error, "equal_nan": True}
    finite = x.detach().abs() < 1e12  # squares and cubes of them, too
    torch.testing.assert_close(found[finite].double(), exact[finite], **options)
    torch.testing.assert_close(slope[finite].double(), exact_slope[finite], **options)
    # In float64: on Arm torch's gelu_tanh of the largest float32 overflows.
    extreme = VALUES[name](exact_x.detach())[~finite].to(dtype)
    torch.testing.assert_close(found[~finite], extreme, equal_nan=True)
