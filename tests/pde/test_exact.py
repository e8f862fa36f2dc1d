from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pyneural.pde import cole_hopf, gauss_hermite

NU = 0.01 / math.pi


def test_two_orders_agree_on_the_test_grid():
    t = torch.arange(100, dtype=torch.float64)[:, None] / 100
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)
    u = cole_hopf(t, x, NU, order=150)
    assert u.shape == (100, 256)
    assert u.dtype == torch.float64
    assert (u - cole_hopf(t, x, NU, order=220)).abs().max() < 1e-12
    assert (u[0] + torch.sin(math.pi * x)).abs().max() < 1e-15
    assert u[:, [0, -1]].abs().max() < 1e-15


def test_agrees_with_the_fourier_series():
    # Where nu is large the heat equation of Cole and Hopf has a short series:
    # f(y) = I_0(z) + 2 sum_n (-1)^n I_n(z) cos(n pi y), z = 1 / (2 pi nu), u = -2 nu phi_x / phi.
    nu, z = 0.1, 1 / (2 * math.pi * 0.1)
    theta = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    n = np.arange(1, 40)
    bessel = (np.exp(z * np.cos(theta)) * np.cos(n[:, None] * theta)).mean(1)
    t, x = np.meshgrid(np.linspace(0, 1, 9), np.linspace(-1, 1, 33), indexing="ij")
    waves = 2 * (-1.0) ** n * bessel * np.exp(-(n**2) * np.pi**2 * nu * t[..., None])
    phi = np.exp(z * np.cos(theta)).mean() + (waves * np.cos(n * np.pi * x[..., None])).sum(-1)
    phi_x = -(waves * n * np.pi * np.sin(n * np.pi * x[..., None])).sum(-1)
    u = cole_hopf(torch.from_numpy(t), torch.from_numpy(x), nu)
    np.testing.assert_allclose(u.numpy(), -2 * nu * phi_x / phi, atol=1e-12)


def test_steepest_slope_is_that_of_the_literature():
    # Basdevant et al. (1986): |u_x|(x = 0) has its maximum 152.00516 at pi t = 1.6037.
    h = 1e-5
    t = (1.6037 + torch.tensor([-0.02, 0.0, 0.02], dtype=torch.float64)) / math.pi
    slope = -cole_hopf(t, h) / h
    assert slope.argmax() == 1
    assert abs(slope[1].item() - 152.00516) < 1e-3


def test_solves_the_equation():
    t = torch.tensor([0.1, 0.3, 0.6, 0.9], dtype=torch.float64)[:, None]
    x = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64)
    x, h = x[x.abs() > 0.1], 1e-3
    u = {k: cole_hopf(t, x + k * h) for k in (-2, -1, 0, 1, 2)}
    u_t = (
        8 * (cole_hopf(t + h, x) - cole_hopf(t - h, x))
        - (cole_hopf(t + 2 * h, x) - cole_hopf(t - 2 * h, x))
    ) / (12 * h)
    u_x = (8 * (u[1] - u[-1]) - (u[2] - u[-2])) / (12 * h)
    u_xx = (16 * (u[1] + u[-1]) - (u[2] + u[-2]) - 30 * u[0]) / (12 * h * h)
    assert (u_t + u[0] * u_x - NU * u_xx).abs().max() < 1e-7


@pytest.mark.parametrize("order", [5, 64, 1000])
def test_gauss_hermite_integrates_moments(order):
    z, log_weights = gauss_hermite(order)
    for power, moment in ((0, 1.0), (2, 0.5), (4, 0.75), (6, 1.875), (8, 6.5625)):
        integral = float((log_weights.exp() * z**power).sum()) / math.sqrt(math.pi)
        assert integral == pytest.approx(moment, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((-0.1, 0.0), "t: expected times >= 0"),
        ((math.nan, 0.0), "finite"),
        ((0.5, 0.0, 0.0), "nu: expected a viscosity > 0"),
        ((0.5, 0.0, -1.0), "nu: expected a viscosity > 0"),
    ],
)
def test_bad_input(arguments, text):
    with pytest.raises(ValueError, match=text):
        cole_hopf(*arguments)


def test_unreachable_viscosity_is_refused():
    with pytest.raises(ValueError, match="between 2e-4 and 1"):
        cole_hopf(torch.tensor(0.9), torch.linspace(-0.5, 0.5, 11), 1e-6)
