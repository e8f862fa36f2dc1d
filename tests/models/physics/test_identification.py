"""Constants from scattered measurements: equations by travelling waves, data, estimates."""

import math

import pytest
import torch

from pyneural import models
from pyneural.models import BurgersConstants, KdVConstants, identify, scattered_measurements
from pyneural.pde import cole_hopf
from pyneural.training import LBFGS, Adam


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


class Smooth(BurgersConstants):
    truth = 1.0, 0.05


@pytest.mark.parametrize(("noise", "bound"), [(0.0, 0.12), (0.05, 0.2)])
def test_constants_are_found(noise, bound):
    phases = Adam(100, lr=2e-2), LBFGS(200)
    found = identify(
        Smooth(0.5, 0.02), noise, seed=1, count=200, hidden=(12, 12), theory_weight=0.1,
        phases=phases,
    )  # fmt: skip
    assert max(found.errors) < bound
    assert found.found == found.pinn.equation.constants
    first, second = found.found
    assert found.errors == pytest.approx((abs(first - 1), abs(second / 0.05 - 1)))
    assert found.solution_error < 0.1


def test_a_run_is_that_of_its_seed():
    def run(seed):
        return identify(BurgersConstants(), seed=seed, count=50, hidden=(5,), phases=[Adam(3)])

    before = torch.get_rng_state()
    assert run(1).found == run(1).found
    assert run(1).found != run(2).found
    assert torch.equal(before, torch.get_rng_state())


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"lambda_2: expected a finite number > 0, got 0"):
        BurgersConstants(1.0, 0.0)
    with pytest.raises(ValueError, match=r"count: expected 1 to 25,600, the points of the grid"):
        scattered_measurements(BurgersConstants(), 30_000)
    with pytest.raises(ValueError, match=r"noise: expected a finite number >= 0, got -0.1"):
        scattered_measurements(BurgersConstants(), 10, -0.1)
    assert models.UnknownConstants in KdVConstants.__mro__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 10.5}, "count: expected a whole number"),
        ({"count": 0}, "count: expected 1 to 25,600"),
        ({"noise": math.inf}, "noise: expected a finite number"),
        ({"noise": math.nan}, "noise: expected a finite number"),
    ],
)
def test_measurements_that_cannot_be_made_are_refused(options, message):
    with pytest.raises(ValueError, match=f"scattered_measurements: {message}"):
        identify(BurgersConstants(), **options)


@pytest.mark.parametrize("guesses", [(math.nan, 0.1), (0.0, math.nan), (0.0, math.inf), (0.0, 0.0)])
def test_guesses_that_are_no_numbers_are_refused(guesses):
    with pytest.raises(ValueError, match=r"KdVConstants: lambda_[12]: expected a finite number"):
        KdVConstants(*guesses)


def test_a_single_phase_is_taken_as_by_fit():
    found = identify(BurgersConstants(), count=20, hidden=(4,), phases=Adam(2))
    assert found.pinn.collocation.shape == (20, 2)
