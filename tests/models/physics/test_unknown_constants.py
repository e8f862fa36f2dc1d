"""Equations with unknown constants by travelling waves, measurements, the bound of their noise."""

import math

import pytest
import torch

from pyneural.models import (
    BurgersConstants,
    KdVConstants,
    UnknownConstants,
    known_start_deviations,
    scattered_measurements,
)
from pyneural.pde import Box, cole_hopf


class Wave:
    """A function of (t, x) in the place of a network, its derivatives by nested autograd."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(*x.unbind(1))[:, None]

    def jet(self, x, derivatives):
        x = x.detach().clone().requires_grad_()
        value, found = self(x), []
        for indices in derivatives:
            part = value
            for index in indices:
                part = torch.autograd.grad(part.sum(), x, create_graph=True)[0][
                    :, index : index + 1
                ]
            found.append(part)
        return (value, *found)


def shock(first, second, c=0.7):
    return Wave(lambda t, x: c / first * (1 - torch.tanh(c * (x - c * t) / (2 * second))))


def soliton(first, second, height=1.3):
    speed, k = first * height / 3, math.sqrt(first * height / (12 * second))
    return Wave(lambda t, x: height / torch.cosh(k * (x - speed * t)) ** 2)


@pytest.mark.parametrize(("equation", "wave"), [(BurgersConstants, shock), (KdVConstants, soliton)])
def test_travelling_waves_solve_the_equations(equation, wave):
    g = torch.Generator().manual_seed(0)
    x = equation().domain.sample(50, dtype=torch.float64, generator=g)
    constants = 1.7, 0.06
    for right in (constants, (1.0, 0.06), (1.7, 0.2)):
        (residual,) = equation(*constants).residuals(wave(*right), x)
        assert (residual.abs().max() < 1e-10) == (right == constants)


def test_the_wave_that_breaks_into_solitons_keeps_what_the_equation_conserves():
    equation = KdVConstants()
    points, u = equation.solution()
    assert points.shape == (101 * 256, 2)
    x = points[:, 1].reshape(101, 256)
    u = u.reshape(101, 256)
    torch.testing.assert_close(u[0], torch.cos(math.pi * x[0]), rtol=0, atol=1e-10)
    first, second = equation.truth
    u = u[:, :-1]  # the last is the first one
    slope = torch.fft.ifft(torch.fft.fft(u) * 1j * math.pi * torch.fft.fftfreq(255, 1 / 255)).real
    energy = first * u**3 / 6 - second * slope**2 / 2
    for conserved in (u, u**2, energy):  # Zabusky and Kruskal 1965
        means = conserved.mean(1)
        assert (means - means[0]).abs().max() < 1e-5 * conserved.abs().max()
    assert u[-1].max() > 2  # solitons


def test_measurements_are_points_of_the_grid_with_noise_of_the_size_asked_for():
    equation = BurgersConstants()
    points, clean = scattered_measurements(equation, 2000, seed=3)
    assert len(torch.unique(points, dim=0)) == 2000
    torch.testing.assert_close(clean, cole_hopf(*points.T, 0.01 / math.pi)[:, None])
    same, noisy = scattered_measurements(equation, 2000, noise=0.1, seed=3)
    assert torch.equal(same, points)
    _, u = equation.solution()
    assert float((noisy - clean).std() / (0.1 * u.std())) == pytest.approx(1, abs=0.05)
    assert abs(float((noisy - clean).mean())) < 4 * 0.1 * float(u.std()) / math.sqrt(2000)
    assert not torch.equal(points, scattered_measurements(equation, 2000, seed=4)[0])


@pytest.mark.parametrize("constants", [(1.3, 0.05), (0.7, 0.05)])
def test_the_solution_of_other_constants_obeys_their_equation(constants):
    """By differences on the grid."""
    equation = BurgersConstants()
    points, u = equation.solution(constants)
    assert points.shape == (100 * 256, 2)
    t, x = (points[:, column].unique() for column in (0, 1))
    u = u.reshape(100, 256)
    u_t = (u[2:] - u[:-2]) / (t[2] - t[0])
    u_x = (u[:, 2:] - u[:, :-2]) / (x[2] - x[0])
    u_xx = (u[:, 2:] - 2 * u[:, 1:-1] + u[:, :-2]) / (x[1] - x[0]) ** 2
    parts = u_t[:, 1:-1], constants[0] * (u[:, 1:-1] * u_x)[1:-1], -constants[1] * u_xx[1:-1]
    assert sum(parts).abs().max() < 0.02 * max(part.abs().max() for part in parts)


class Plane(UnknownConstants):
    """u = lambda_1 t + lambda_2 x, of which the textbooks have the bound."""

    truth = 2.0, 0.5

    def __init__(self):
        super().__init__()
        self.domain = Box(t=(0, 1), x=(-1, 1))

    def residual(self, u):
        return u.tt

    def solution(self, constants=None):
        points = self.domain.grid(11, 21, dtype=torch.float64)
        return points, points @ torch.tensor(constants or self.truth, dtype=torch.float64)[:, None]


def test_the_bound_of_a_linear_problem():
    points, u = Plane().solution()
    covariance = (0.1 * u.std()) ** 2 * 231 / 40 * torch.linalg.inv(points.T @ points)
    expected = covariance.diagonal().sqrt() / torch.tensor([2.0, 0.5])
    found = known_start_deviations(Plane(), count=40, noise=0.1)
    assert found == pytest.approx(expected.tolist(), rel=1e-6)
    doubled = known_start_deviations(Plane(), count=160, noise=0.2)
    assert doubled == pytest.approx(found, rel=1e-12)
    assert known_start_deviations(Plane(), 40, 0.0) == (0.0, 0.0)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"lambda_2: expected a finite number > 0, got 0"):
        BurgersConstants(1.0, 0.0)
    with pytest.raises(ValueError, match=r"count: expected 1 to 25,600, the points of the grid"):
        scattered_measurements(BurgersConstants(), 30_000)
    with pytest.raises(ValueError, match=r"noise: expected a finite number >= 0, got -0.1"):
        scattered_measurements(BurgersConstants(), 10, -0.1)
    with pytest.raises(ValueError, match=r"known_start_deviations: count: expected a whole number"):
        known_start_deviations(Plane(), count=0)
    with pytest.raises(
        ValueError, match=r"deviations: noise: expected a finite number >= 0, got nan"
    ):
        known_start_deviations(Plane(), noise=math.nan)


@pytest.mark.parametrize("guesses", [(math.nan, 0.1), (0.0, math.nan), (0.0, math.inf), (0.0, 0.0)])
def test_guesses_that_are_no_numbers_are_refused(guesses):
    with pytest.raises(ValueError, match=r"KdVConstants: lambda_[12]: expected a finite number"):
        KdVConstants(*guesses)
