"""odeint under torch.func: all samples take the same steps, as the rows of a batch do."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad, hessian, jacrev, vmap

from pyneural.errors import ArgumentError
from pyneural.ode import odeint
from tests.ode.test_odeint import Y0, exact, logistic
from tests.tolerances import assert_close

TIMES = torch.tensor([0.0, 0.7, 2.0], dtype=torch.float64)
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def last(y0, times=TIMES, **options):
    return odeint(logistic, y0, times, **options)[-1]


@pytest.mark.parametrize("options", [TIGHT, {"steps": 100}])
@pytest.mark.parametrize("nested", [False, True])
def test_values_of_vmap(options, nested):
    y0 = torch.stack([Y0, Y0 / 2])
    function = vmap(lambda y: last(y, **options))
    found = (vmap(function) if nested else function)(y0)
    assert_close(found, exact(TIMES[-1], y0), 1e-8)
    assert_close(found, last(y0, **options), 1e-14)  # the same steps


def test_the_sample_with_the_largest_error_decides():
    """Whatever the dimension that is mapped."""
    rates = torch.tensor([[0.0, 20.0]], dtype=torch.float64)  # for one row in two samples
    one = torch.ones(1, dtype=torch.float64)

    def grown(rate):
        return odeint(lambda t, y: rate * y, one, [0.0, 1.0], **TIGHT)[-1]

    assert_close(vmap(grown, in_dims=1, out_dims=1)(rates).log(), rates, 1e-7)


def test_derivatives():
    def value(y):
        return last(y, **TIGHT)

    y = Y0.clone().requires_grad_()
    (expected,) = torch.autograd.grad(exact(TIMES[-1], y).sum(), y)
    assert_close(vmap(grad(value))(Y0), expected, 1e-8)
    assert_close(jacrev(value)(Y0), expected.diag(), 1e-8)
    second = vmap(hessian(lambda y: exact(TIMES[-1], y)))(Y0)
    assert_close(vmap(hessian(value))(Y0), second, 1e-6)


def test_times_of_each_sample():
    times = torch.tensor([[0.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
    found = vmap(lambda t: last(Y0, t, steps=100))(times)
    assert_close(found, torch.stack([exact(t[-1], Y0) for t in times]), 1e-8)
    with pytest.raises(ArgumentError, match="t: expected the same times for all samples of vmap"):
        vmap(lambda t: last(Y0, t))(times)
    with pytest.raises(ArgumentError, match=r"all increasing .*, got \[\[0.0, 1.0\], \[0.0, 0.0"):
        vmap(lambda t: last(Y0, t))(times * torch.tensor([[1.0], [0.0]]))
    same = vmap(lambda t: last(Y0, t, **TIGHT))(times[:1].expand(2, 2))
    assert_close(same, exact(times[0, 1], Y0).expand(2, 3), 1e-8)
