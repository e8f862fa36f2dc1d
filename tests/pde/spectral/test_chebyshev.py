"""Chebyshev solutions against exact ones, to 1e-10; orders of convergence; errors."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from pyneural.pde import Box, Equation, cole_hopf, spectral
from pyneural.pde.spectral.differentiation import (
    chebyshev_points,
    differentiation_matrices,
    interpolation_matrix,
)
from pyneural.pde.spectral.radau import radau_iia
from tests.pde.spectral.test_fourier import LIMIT, _no_warnings, largest_error  # noqa: F401


def zero(u):
    return u


@pytest.mark.parametrize("n", [7, 24])
def test_matrices_differentiate_polynomials(n):
    x = chebyshev_points(n, -0.5, 2)
    polynomial = np.polynomial.Polynomial(np.random.default_rng(n).normal(size=7))
    values = torch.from_numpy(polynomial(x.numpy()))
    for order, matrix in enumerate(differentiation_matrices(n, 4, 2.5)):
        exact = torch.from_numpy((polynomial.deriv(order) if order else polynomial)(x.numpy()))
        assert (matrix @ values - exact).abs().max() < 1e-9 * exact.abs().max()
    y = torch.tensor([-0.5, 0.1, 1.9, 2.0], dtype=torch.float64)
    between = interpolation_matrix(x, y) @ values
    assert (
        between - torch.from_numpy(polynomial(y.numpy()))
    ).abs().max() < 1e-12 * values.abs().max()


@pytest.mark.parametrize("stages", [3, 5])
def test_radau_integrates_powers_of_its_order(stages):
    tableau = radau_iia(stages)
    weights = torch.linalg.inv(tableau.derivative)[-1]
    for power in range(2 * stages - 1):
        assert float(weights @ tableau.nodes**power) == pytest.approx(1 / (power + 1), rel=1e-12)


def test_heat_with_robin_end():
    mu = 0.8
    h = mu * math.tan(mu)
    problem = spectral.Chebyshev(
        lambda u: u.xx,
        Box(t=(0, 1), x=(0, 1)),
        {"x": (lambda u: u.x, lambda u: u.x + h * u)},
        lambda x: torch.cos(mu * x),
    )
    error = largest_error(
        problem.solve(16, 4), lambda t, x: torch.exp(-(mu**2) * t) * torch.cos(mu * x)
    )
    assert error < 1e-12


def burgers():
    return spectral.Chebyshev(
        lambda u: 0.1 * u.xx - u * u.x,
        Box(t=(0, 1), x=(-1, 1)),
        {"x": (zero, zero)},
        lambda x: -torch.sin(math.pi * x),
    )


def test_burgers():
    error = largest_error(burgers().solve(90, 20), lambda t, x: cole_hopf(t, x, 0.1), count=60)
    assert error < LIMIT


def travelling(t, x):
    """Of u_t = u_xx + u - u^3."""
    return 0.5 - 0.5 * torch.tanh((x - 3 * t / math.sqrt(2)) / (2 * math.sqrt(2)))


def allen_cahn():
    low, high = torch.tensor(-4.0).double(), torch.tensor(6.0).double()
    return spectral.Chebyshev(
        lambda u: u.xx + u - u**3,
        Box(t=(0, 2), x=(-4, 6)),
        {"x": (lambda u, t: u - travelling(t, low), lambda u, t: u - travelling(t, high))},
        lambda x: travelling(torch.zeros(()), x),
    )


def test_allen_cahn_wave_and_order_in_time():
    assert largest_error(allen_cahn().solve(48, 16), travelling, count=60) < LIMIT
    errors = [
        largest_error(allen_cahn().solve(48, steps, [2.0]), travelling, 40) for steps in (1, 2)
    ]
    assert math.log2(errors[0] / errors[1]) > 6


def test_wave_with_fixed_ends():
    class Wave(Equation):
        inputs, outputs = "tx", "u"

        def residual(self, u):
            return u.tt - u.xx

    problem = spectral.Chebyshev(
        Wave(), Box(t=(0, 2), x=(0, 1)), {"x": (zero, zero)},
        lambda x: (torch.sin(math.pi * x), 0 * x),
    )  # fmt: skip
    error = largest_error(
        problem.solve(24, 20), lambda t, x: torch.sin(math.pi * x) * torch.cos(math.pi * t), 60
    )
    assert error < LIMIT


def test_advection_with_inflow_alone():
    problem = spectral.Chebyshev(
        lambda u: -u.x,
        Box(t=(0, 1), x=(0, 1)),
        {"x": (lambda u, t: u + torch.sin(t), None)},
        lambda x: torch.sin(x),
    )
    assert largest_error(problem.solve(16, 8), lambda t, x: torch.sin(x - t), 60) < 1e-11


def test_system_with_conditions_for_one_equation_each():
    """u_t = v_x, v_t = u_x with u given at the left and v at the right."""
    problem = spectral.Chebyshev(
        lambda u, v: (v.x, u.x),
        Box(t=(0, 1), x=(0, 1)),
        {
            "x": (
                lambda u, v, t: (u - torch.cos(t), None),
                lambda u, v, t: (None, v + torch.cos(t - 1)),
            )
        },
        lambda x: (torch.cos(x), -torch.cos(x)),
    )

    def exact(t, x):
        return torch.cos(t - x), -torch.cos(t - x)

    assert largest_error(problem.solve(20, 10), exact, 60) < LIMIT


def test_clamped_and_free_beam():
    """u_xxxx = 1: u = x^4 / 24 - x^3 / 6 + x^2 / 4."""
    problem = spectral.Chebyshev(
        lambda u: u.xxxx - 1,
        Box(x=(0, 1)),
        {"x": ([lambda u: u, lambda u: u.x], [lambda u: u.xx, lambda u: u.xxx])},
    )
    error = largest_error(problem.solve(12), lambda x: x**4 / 24 - x**3 / 6 + x**2 / 4)
    assert error < LIMIT


def test_bratu():
    """u_xx + lambda e^u = 0: u = 2 log(cosh(a) / cosh(a (1 - 2 x))), lambda = 8 a^2 / cosh(a)^2."""
    a = 0.7
    strength = 8 * a**2 / math.cosh(a) ** 2
    problem = spectral.Chebyshev(
        lambda u: u.xx + strength * torch.exp(u), Box(x=(0, 1)), {"x": (zero, zero)}
    )

    def exact(x):
        return 2 * torch.log(math.cosh(a) / torch.cosh(a * (1 - 2 * x)))

    assert largest_error(problem.solve(24), exact) < 1e-12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        errors = [largest_error(problem.solve(n), exact) for n in (6, 12)]
    assert errors[1] < 30 * errors[0] ** 2


def test_helmholtz_in_a_rectangle_with_mixed_sides():
    def exact(x, y):
        return torch.exp(x) * torch.sin(2 * y)

    problem = spectral.Chebyshev(
        lambda u, x, y: u.laplacian + 9 * u - 6 * exact(x, y),
        Box(x=(0, 1), y=(0, 2)),
        {
            "x": (lambda u, x, y: u - exact(x, y), lambda u, x, y: u.x - exact(x, y)),
            "y": (
                lambda u, x, y: u.y - 2 * torch.exp(x),
                lambda u, x, y: u.y + u - torch.exp(x) * (2 * torch.cos(2 * y) + torch.sin(2 * y)),
            ),
        },
    )
    assert largest_error(problem.solve((16, 22)), exact) < LIMIT


def test_nonlinear_problem_in_a_rectangle():
    def exact(x, y):
        return torch.sin(x) * torch.cos(y)

    def source(x, y):
        return 0.2 * exact(x, y) - exact(x, y) + exact(x, y) ** 3

    def side(u, x, y):
        return u - exact(x, y)

    problem = spectral.Chebyshev(
        lambda u, x, y: 0.1 * u.laplacian + u - u**3 + source(x, y),
        Box(x=(0, 2), y=(0, 1)),
        {"x": (side, side), "y": (side, side)},
        lambda x, y: x + y,
    )
    assert largest_error(problem.solve((18, 14)), exact) < LIMIT


def test_kovasznay_flow():
    """Stationary Navier-Stokes behind a grid (Kovasznay 1948), as vorticity and stream function."""
    re = 20.0
    rate = re / 2 - math.sqrt(re**2 / 4 + 4 * math.pi**2)
    k = 2 * math.pi

    def stream(x, y):
        return y - torch.exp(rate * x) * torch.sin(k * y) / k

    def vorticity(x, y):
        return (rate**2 - k**2) * torch.exp(rate * x) * torch.sin(k * y) / k

    def side(w, psi, x, y):
        return w - vorticity(x, y), psi - stream(x, y)

    problem = spectral.Chebyshev(
        lambda w, psi: (psi.y * w.x - psi.x * w.y - w.laplacian / re, psi.laplacian + w),
        Box(x=(-0.5, 0.5), y=(-0.25, 0.25)),
        {"x": (side, side), "y": (side, side)},
    )

    def exact(x, y):
        return vorticity(x, y), stream(x, y)

    assert largest_error(problem.solve((18, 16)), exact) < LIMIT


def test_reference_states_the_difference():
    solution = spectral.reference(burgers(), 90, 30, [0.5, 1.0])
    points = torch.tensor([[1.0, 0.1], [0.5, -0.3]], dtype=torch.float64)
    exact = cole_hopf(points[:, 0], points[:, 1], 0.1)
    assert (solution(points)[:, 0] - exact).abs().max() < 1e-3 * solution.difference
    assert solution.difference < 1e-4


BOX = Box(t=(0, 1), x=(0, 1))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: spectral.Chebyshev(lambda u: u.xx, BOX, {"x": (zero, zero)}), "initial: expected"),
        (lambda: spectral.Chebyshev(lambda u: u.xx, BOX, {"x": zero}, zero), "pair of conditions"),
        (lambda: spectral.Chebyshev(lambda u: u.xx, BOX, {"y": (zero, zero)}, zero), "each of x"),
        (lambda: spectral.Chebyshev(
            lambda u, v: (u.xx, v.xx), BOX, {"x": (zero, zero)}, lambda x: (x, x)).solve(8, 2),
         "expected one residual for each of the 2 equations"),
        (lambda: spectral.Chebyshev(lambda u: u.xx, Box(x=(0, 1)), {"x": (None, zero)}),
         "expected 2 conditions along x.* got 1"),
        (lambda: spectral.Chebyshev(lambda u: u.xx, BOX, {}, lambda x: x), "expected 2 conditions"),
        (lambda: spectral.Chebyshev(lambda u, x: u.xx - x + 0.5, Box(x=(0, 1)),
                                    {"x": (lambda u: u.x, lambda u: u.x)}).solve(16),
         "fix the constant where only derivatives"),
        (lambda: spectral.Chebyshev(lambda u: u.xx + 10 * torch.exp(u), Box(x=(0, 1)),
                                    {"x": (zero, zero)}).solve(16), "Newton converges"),
    ],
)  # fmt: skip
def test_errors(make, text):
    with pytest.raises((ValueError, FloatingPointError), match=text):
        make()


def test_a_step_without_solution_is_named():
    problem = spectral.Chebyshev(
        lambda u: u.xx + 30 * torch.exp(u), BOX, {"x": (zero, zero)}, lambda x: 0 * x
    )
    with pytest.raises(spectral.UnstableStepError, match="take twice the steps"):
        problem.solve(16, 4)


def test_too_few_points_are_told():
    with pytest.warns(UserWarning, match="n: expected a spectrum that decays"):
        burgers().solve(24, 10)


def test_jacobians_against_finite_differences():
    """Newton would converge with wrong ones too, only slower."""
    problem = spectral.Chebyshev(
        lambda u, v, x, t: (u * v.xx + t * u.x**2, x * v.xx + torch.exp(u) * v),
        BOX,
        {"x": (lambda u, v, t: (u**2 + t * v.x, v), lambda u, v: (u.x * v, v.x - u))},
        lambda x: (torch.sin(x), torch.cos(x)),
    )
    collocation = problem._discretize((6,)).collocation
    g = torch.Generator().manual_seed(0)
    orders = list(torch.randn(2, 2, 6, generator=g, dtype=torch.float64))
    time, h = torch.tensor([0.3], dtype=torch.float64), 1e-6
    for index, jacobian in enumerate(collocation.jacobians(orders, time)):
        for column in range(12):
            ends = []
            for step in (h, -h):
                moved = [order.clone() for order in orders]
                moved[index].view(-1)[column] += step
                ends.append(collocation.residual(moved, time).view(-1))
            slope = (ends[0] - ends[1]) / (2 * h)
            assert (jacobian[:, column] - slope).abs().max() < 1e-6 * (1 + slope.abs().max())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("kind", ["Chebyshev", "in time", "Fourier"])
def test_modes_of_autograd_do_not_matter(kind, mode):
    def zero(u):
        return u

    def solve():
        if kind == "Fourier":
            ring = Box(t=(0, 0.1), x=(0, 2 * math.pi))
            return spectral.Fourier(lambda u, x: u.xx - u * u.x, ring, lambda x: x.sin()).solve(
                16, 20
            )
        steady = kind == "Chebyshev"
        box = Box(x=(-1, 1)) if steady else Box(t=(0, 0.1), x=(-1, 1))
        initial = None if steady else (lambda x: torch.cos(math.pi * x / 2))
        problem = spectral.Chebyshev(
            lambda u, x: u.xx - torch.exp(u) * (1 + x), box, {"x": (zero, zero)}, initial
        )
        return problem.solve(16) if steady else problem.solve(16, 4)

    at = torch.full((1, 1 if kind == "Chebyshev" else 2), 0.1, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few points
        expected = solve()(at)
        with mode():
            found = solve()
    assert torch.equal(found(at), expected)
