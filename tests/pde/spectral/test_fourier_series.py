"""Periodic functions as short Fourier series."""

import math

import torch

from pyneural.pde.spectral.fourier_series import FourierSeries
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close


def bump(x):
    return torch.exp(torch.cos(2 * math.pi * (x - 0.3) / 5))


def test_value_and_derivatives():
    series = FourierSeries(bump, low=-2.0, period=5.0)
    x = (7 * torch.rand(50, dtype=torch.float64) - 3).requires_grad_()
    found, exact = series(x), bump(x)
    assert_close(found, exact, FLOAT64)
    for limit in (FLOAT64, FLOAT64_GRADIENT, FLOAT64_GRADIENT, FLOAT64_GRADIENT):
        found, exact = (
            torch.autograd.grad(y.sum(), x, create_graph=True)[0] for y in (found, exact)
        )
        assert_close(found, exact, limit)


def test_keeps_what_matters():
    series = FourierSeries(lambda x: 3 + torch.sin(4 * x)[:, None].squeeze(1), 0.0, 2 * math.pi)
    assert series.harmonics.tolist() == [0.0, 4.0]
    assert float(series(torch.tensor([math.pi / 8]))) == 4.0
    column = FourierSeries(lambda x: torch.cos(x)[:, None], 0.0, 2 * math.pi)
    x = torch.rand(5, dtype=torch.float64)
    assert_close(column(x), torch.cos(x), FLOAT64)


def test_zero():
    series = FourierSeries(torch.zeros_like, 0.0, 1.0)
    assert series(torch.rand(4)).tolist() == [0.0] * 4
