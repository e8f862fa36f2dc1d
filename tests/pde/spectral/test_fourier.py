"""Fourier solutions against exact ones, to 1e-10; orders of convergence; errors."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import pytest
import torch

from pyneural.pde import Box, Equation, cole_hopf, spectral
from tests.pde.spectral.fourier_problems import Wave, burgers

TURN = 2 * math.pi
LIMIT = 1e-10


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def largest_error(solution, exact, count=200):
    """At random points of the domain, times between the kept ones included; relative."""
    domain = solution._system.domain
    g = torch.Generator().manual_seed(count)
    points = domain.sample(count, generator=g, dtype=torch.float64)
    if domain.has_time:  # a few times, each at many places
        column = domain.index("t")
        points[:, column] = points[: count // 20, column].repeat(20)
    found = solution(points)
    columns = dict(zip(domain.names, points.T, strict=True))
    expected = exact(**columns)
    expected = torch.stack(expected if isinstance(expected, tuple) else (expected,), 1)
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_heat(dim):
    names = "xyz"[:dim]
    waves = dict(zip(names, (2, 1, 3), strict=False))

    def initial(**columns):
        return torch.stack([torch.sin(k * columns[name]) for name, k in waves.items()]).prod(0)

    functions = {
        1: lambda x: initial(x=x),
        2: lambda x, y: initial(x=x, y=y),
        3: lambda x, y, z: initial(x=x, y=y, z=z),
    }
    domain = Box(t=(0, 1), **dict.fromkeys(names, (0, TURN)))
    solution = spectral.Fourier(lambda u: 0.3 * u.laplacian, domain, functions[dim]).solve(9, 1)
    rate = 0.3 * sum(k * k for k in waves.values())
    error = largest_error(solution, lambda t, **c: torch.exp(-rate * t) * initial(**c))
    assert error < 1e-13


def test_advection_in_a_box_whose_time_stands_last():
    domain = Box(x=(-1, 3), t=(2, 4))
    wave = TURN / 4
    problem = spectral.Fourier(
        lambda u: -0.7 * u.x, domain, lambda x: torch.exp(torch.sin(wave * x))
    )
    solution = problem.solve(64, 3, [2.5, 4.0])
    error = largest_error(solution, lambda x, t: torch.exp(torch.sin(wave * (x - 0.7 * (t - 2)))))
    assert error < 1e-13


def test_burgers():
    assert largest_error(burgers().solve(160, 700), lambda t, x: cole_hopf(t, x, 0.05)) < LIMIT


def test_order_in_time_is_four_and_in_space_spectral():
    def exact(t, x):
        return cole_hopf(t, x, 0.05)

    errors = [largest_error(burgers().solve(144, steps, [1.0]), exact) for steps in (50, 100, 200)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(3.6 < order < 4.4 for order in orders), orders
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        errors = [largest_error(burgers().solve(n, 500), exact) for n in (48, 96)]
    # Each doubling squares the error of a geometric convergence.
    assert errors[1] < 30 * errors[0] ** 2


def two_solitons(t, x, k1=1.1, k2=1.6):
    """Of u_t + 6 u u_x + u_xxx = 0 (Hirota 1971): u = 2 (log F)_xx."""
    a1, a2 = torch.exp(k1 * (x + 1) - k1**3 * t), torch.exp(k2 * (x + 2) - k2**3 * t)
    a12 = ((k1 - k2) / (k1 + k2)) ** 2 * a1 * a2
    f, f_x = 1 + a1 + a2 + a12, k1 * a1 + k2 * a2 + (k1 + k2) * a12
    f_xx = k1**2 * a1 + k2**2 * a2 + (k1 + k2) ** 2 * a12
    return 2 * (f_xx / f - (f_x / f) ** 2)


def test_kdv_two_solitons():
    domain = Box(t=(0, 0.5), x=(-30, 30))
    problem = spectral.Fourier(
        lambda u: -6 * u * u.x - u.xxx,
        domain,
        lambda x: two_solitons(torch.zeros(()), x),
    )
    assert largest_error(problem.solve(432, 1000, [0.5]), two_solitons) < LIMIT


def breather(t, x):
    """Of i h_t + h_xx / 2 + |h|^2 h = 0, h(0, x) = 2 sech x (Satsuma and Yajima 1974)."""
    above = torch.cosh(3 * x) + 3 * torch.exp(4j * t) * torch.cosh(x)
    below = torch.cosh(4 * x) + 4 * torch.cosh(2 * x) + 3 * torch.cos(4 * t)
    return 4 * torch.exp(0.5j * t) * above / below


SECH = Box(t=(0, 0.2), x=(-26, 26))


def test_schroedinger_complex():
    problem = spectral.Fourier(
        lambda h: 1j * (h.xx / 2 + abs(h) ** 2 * h), SECH, lambda x: 2 / torch.cosh(x) + 0j
    )
    solution = problem.solve(640, 300, [0.2])
    assert largest_error(solution, breather) < LIMIT
    assert solution(SECH.sample(3)).dtype == torch.complex128


def test_schroedinger_in_two_parts():
    class Schroedinger(Equation):
        inputs, outputs = "tx", "uv"

        def residual(self, u, v):
            square = u**2 + v**2
            return u.t + v.xx / 2 + square * v, -v.t + u.xx / 2 + square * u

    problem = spectral.Fourier(Schroedinger(), SECH, lambda x: (2 / torch.cosh(x), 0 * x))

    def exact(t, x):
        h = breather(t, x)
        return h.real, h.imag

    assert largest_error(problem.solve(640, 300, [0.2]), exact) < LIMIT


def test_kuramoto_sivashinsky_at_two_resolutions():
    problem = spectral.Fourier(
        lambda u: -u * u.x - u.xx - u.xxxx,
        Box(t=(0, 4), x=(0, 32 * math.pi)),
        lambda x: torch.cos(x / 16) * (1 + torch.sin(x / 16)),
    )
    assert spectral.reference(problem, 512, 400, [4.0]).difference < LIMIT


def test_wave_of_second_order_in_time():
    speed = 2 * math.sqrt(5)
    problem = spectral.Fourier(
        Wave(),
        Box(t=(0, 3), x=(0, TURN), y=(0, TURN)),
        lambda x, y: (0 * x, speed * torch.sin(x + 2 * y) + 0.3),
    )
    error = largest_error(
        problem.solve(16, 1),
        lambda t, x, y: torch.sin(x + 2 * y) * torch.sin(speed * t) + 0.3 * t,
    )
    assert error < 1e-12


def test_taylor_green_with_stream_function():
    nu = 0.1

    class Vorticity(Equation):
        inputs, outputs = "txy", ("w", "psi")

        def residual(self, w, psi):  # in a frame that moves with (0.5, 0.2)
            u, v = psi.y + 0.5, 0.2 - psi.x
            return w.t + u * w.x + v * w.y - nu * w.laplacian, psi.laplacian + w

    domain = Box(t=(0, 1), x=(0, TURN), y=(0, TURN))
    problem = spectral.Fourier(Vorticity(), domain, lambda x, y: 2 * torch.cos(x) * torch.cos(y))

    def exact(t, x, y):
        psi = torch.exp(-2 * nu * t) * torch.cos(x - 0.5 * t) * torch.cos(y - 0.2 * t)
        return 2 * psi, psi

    assert largest_error(problem.solve(16, 100), exact) < LIMIT


def test_taylor_green_with_pressure():
    nu = 0.1

    class NavierStokes(Equation):
        inputs, outputs = "txy", "uvp"

        def residual(self, u, v, p):
            return (
                u.t + u * u.x + v * u.y + p.x - nu * u.laplacian,
                v.t + u * v.x + v * v.y + p.y - nu * v.laplacian,
                p.laplacian + u.x**2 + 2 * u.y * v.x + v.y**2,
            )

    domain = Box(t=(0, 1), x=(0, TURN), y=(0, TURN))
    problem = spectral.Fourier(
        NavierStokes(),
        domain,
        lambda x, y: (torch.cos(x) * torch.sin(y), -torch.sin(x) * torch.cos(y)),
    )

    def exact(t, x, y):
        f = torch.exp(-2 * nu * t)
        pressure = -(f**2) / 4 * (torch.cos(2 * x) + torch.cos(2 * y))
        return f * torch.cos(x) * torch.sin(y), -f * torch.sin(x) * torch.cos(y), pressure

    assert largest_error(problem.solve(16, 100), exact) < LIMIT


@pytest.mark.parametrize("dim", [1, 2])
def test_poisson(dim):
    names = "xy"[:dim]
    domain = Box(**dict.fromkeys(names, (0, 1)))
    functions = {
        1: lambda u, x: u.xx + (TURN**2) * torch.sin(TURN * x),
        2: lambda u, x, y: (
            u.laplacian + 5 * TURN**2 * torch.sin(TURN * x) * torch.cos(2 * TURN * y)
        ),
    }
    exact = {
        1: lambda x: torch.sin(TURN * x),
        2: lambda x, y: torch.sin(TURN * x) * torch.cos(2 * TURN * y),
    }
    assert largest_error(spectral.Fourier(functions[dim], domain).solve(20), exact[dim]) < 1e-12


def test_coefficients_and_sources_that_vary():
    """(K u_x)_x with K from 1 to 3, stiff, and a source that makes sin(x - t) the solution."""

    def rate(u, x, t):
        k, k_x = 2 + torch.sin(x), torch.cos(x)
        s, c = torch.sin(x - t), torch.cos(x - t)
        return k * u.xx + k_x * u.x - c + k * s - k_x * c

    problem = spectral.Fourier(rate, Box(t=(0, 1), x=(0, TURN)), lambda x: torch.sin(x))
    solution = problem.solve(32, 700, [1.0])
    assert largest_error(solution, lambda t, x: torch.sin(x - t)) < LIMIT


def test_derivative_in_time_under_derivatives_in_space():
    """u_t - u_xxt + u_x = 0, the linear BBM equation: waves of speed 1 / (1 + k^2)."""

    class BBM(Equation):
        inputs, outputs = "tx", "u"

        def residual(self, u):
            return u.t - u.xxt + u.x

    problem = spectral.Fourier(BBM(), Box(t=(0, 5), x=(0, TURN)), lambda x: torch.cos(2 * x))
    assert largest_error(problem.solve(16, 1), lambda t, x: torch.cos(2 * (x - t / 5))) < 1e-13


def test_a_kink_at_the_ends_costs_no_accuracy():
    """x^2 cos(pi x) on (-1, 1): its modes fall as 1 / m^2, aliasing would spoil them all."""
    problem = spectral.Fourier(
        lambda u: 0.1 * u.xx, Box(t=(0, 1), x=(-1, 1)), lambda x: x**2 * torch.cos(math.pi * x)
    )
    found = problem.solve(64, 1, [1.0])(torch.tensor([[1.0, 0.25]], dtype=torch.float64))
    x = torch.linspace(-1, 1, 100_001, dtype=torch.float64)
    f, expected = x**2 * torch.cos(math.pi * x), 0.0
    for m in range(20):
        coefficient = torch.trapezoid(f * torch.cos(m * math.pi * x), x) / (2 if m == 0 else 1)
        decay = math.exp(-0.1 * (m * math.pi) ** 2)
        expected += float(coefficient) * decay * math.cos(m * math.pi * 0.25)
    assert abs(float(found) - expected) < 1e-9


def test_reaction_diffusion_system_by_two_resolutions():
    problem = spectral.Fourier(
        lambda u, v: (0.01 * u.xx + u - u**3 - v, 0.02 * v.xx + 0.5 * (u - v)),
        Box(t=(0, 1), x=(0, 1)),
        lambda x: (torch.cos(TURN * x), 0.3 * torch.sin(TURN * x)),
    )
    solution = spectral.reference(problem, 96, 400, [0.5, 1.0])
    assert solution.difference < LIMIT
    assert "difference" in repr(solution)


def test_points_in_any_order_and_grids_agree():
    solution = burgers().solve(128, 200, [0.5, 1.0])
    grid = Box(t=(0, 1), x=(-1, 1)).grid(3, 5, dtype=torch.float64)
    shuffled = torch.randperm(len(grid), generator=torch.Generator().manual_seed(0))
    assert (solution(grid)[shuffled] - solution(grid[shuffled])).abs().max() < 1e-15
    single = torch.cat([solution(row[None]) for row in grid])
    assert (solution(grid) - single).abs().max() < 1e-13
    assert solution.times.tolist() == [0, 0.5, 1]
    assert solution.grid().shape == (3 * 128, 2)


def test_an_equation_with_an_imaginary_coefficient_has_complex_fields():
    problem = spectral.Fourier(
        lambda h: 0.5j * h.xx, Box(t=(0, 1), x=(0, TURN)), lambda x: torch.cos(x)
    )
    solution = problem.solve(8, 1)
    assert largest_error(solution, lambda t, x: torch.exp(-0.5j * t) * torch.cos(x)) < 1e-14


@pytest.mark.parametrize("nu", [1e-4, 0.01 / math.pi])
def test_coefficients_are_found_to_the_last_digit(nu):
    problem = spectral.Fourier(
        lambda u, x: nu * u.xx + 5 * u - 5 * u**3 + 2000 * torch.sin(x),
        Box(t=(0, 1), x=(0, TURN)),
        lambda x: torch.cos(x),
    )
    index = [c.order for c in problem.system.channels].index(2)
    assert abs(problem.form.coefficients[0][index] + nu) < 4e-16 * nu


def test_what_only_looks_linear_is_not():
    """|u| is linear for positive u, a root is not finite for negative u."""
    domain = Box(t=(0, 1), x=(0, TURN))
    for rate in (lambda u: u.xx - abs(u), lambda u: u.xx - torch.sqrt(u), lambda u: u.xx - u**2):
        problem = spectral.Fourier(rate, domain, lambda x: 2 + torch.cos(x))
        (row,) = problem.form.coefficients
        assert [c.order for c in problem.system.channels] == [0, 2, 0]  # u, u_xx, u_t
        assert row == [None, -1, 1]


def test_at_the_first_time_the_initial_condition_itself():
    problem = spectral.Fourier(
        lambda u: 0.1 * u.xx, Box(t=(0, 1), x=(-1, 1)), lambda x: x**2 * torch.cos(math.pi * x)
    )
    solution = problem.solve(32, 1, [1.0])
    points = torch.tensor([[0.0, -1.0], [0.0, 0.3]], dtype=torch.float64)
    x = points[:, 1]
    assert (solution(points)[:, 0] - x**2 * torch.cos(math.pi * x)).abs().max() == 0
