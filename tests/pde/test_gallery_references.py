"""References of the gallery that no formula gives, against other computations."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from pyneural.pde import gallery
from pyneural.pde.gallery import GALLERY
from tests.pde.gallery_paper import PI, reference


@pytest.mark.parametrize("name", ["lorenz", "lotka-volterra"])
def test_reference_of_motions_is_scipys(name):
    integrate = pytest.importorskip("scipy.integrate")
    times, y = reference(name)

    def rates(t, state):
        a = state
        if name == "lorenz":
            return [10 * (a[1] - a[0]), a[0] * (15 - a[2]) - a[1], a[0] * a[1] - 8 / 3 * a[2]]
        return [a[0] - a[0] * a[1], a[0] * a[1] - a[1]]

    start = {"lorenz": [-8, 7, 27], "lotka-volterra": [2, 1]}[name]
    found = integrate.solve_ivp(
        rates, (0, float(times[-1])), start, "DOP853", times[:, 0].numpy(), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(y, torch.from_numpy(found.y.T), rtol=1e-8, atol=1e-8)
    assert (y[0] == y.new_tensor(start)).all()


@pytest.mark.parametrize("name", GALLERY)
def test_sections_are_in_the_domain(name):
    problem = GALLERY[name]()
    problem.test_grid = lambda: reference(name)
    if reference(name)[1].isnan().any():
        pytest.skip("drawn without a reference")
    points, values = problem.section_grid()
    problem.domain.check(points)
    assert values.shape == (len(points), len(problem.outputs))
    for coordinate, value in problem.section.items():
        assert (points[:, problem.domain.index(coordinate)] == value).all()
    assert len(problem.domain.names) - len(problem.section) in (1, 2)


RINGS = ["allen-cahn", "kdv", "kdv-raissi", "kuramoto-sivashinsky", "ks-chaotic"]
# u_t = L u + N(u) as on paper: L by i k, N by u and what multiplies by i k, and the start.
WAVES = {
    "allen-cahn": (lambda k: 1e-4 * k**2 + 5, lambda u, d: -5 * u**3),
    "kdv": (lambda k: -(0.022**2) * k**3, lambda u, d: -d(u * u / 2)),
    "kdv-raissi": (lambda k: -0.0025 * k**3, lambda u, d: -d(u * u / 2)),
    "kuramoto-sivashinsky": (
        lambda k: -0.5 * k**2 - 0.005 * k**4, lambda u, d: -5 * d(u * u / 2),
    ),
    "ks-chaotic": (
        lambda k: -100 / 16**2 * k**2 - 100 / 16**4 * k**4, lambda u, d: -100 / 16 * d(u * u / 2),
    ),
}  # fmt: skip
STARTS = {
    "allen-cahn": lambda x: x**2 * np.cos(PI * x),
    "kdv": lambda x: np.cos(PI * x),
    "kdv-raissi": lambda x: np.cos(PI * x),
    "kuramoto-sivashinsky": lambda x: -np.sin(PI * x),
    "ks-chaotic": lambda x: np.cos(x) * (1 + np.sin(x)),
}


N_POINTS = {"ks-chaotic": 192, "allen-cahn": 1024, "kdv": 256, "kdv-raissi": 192}


def on_a_ring(name, last):
    """Places and values there at a time, by SciPy.

    Waves with an integrating factor by DOP853, what diffuses as it is by Radau or DOP853.
    """
    integrate = pytest.importorskip("scipy.integrate")
    linear, nonlinear = WAVES[name]
    n = N_POINTS.get(name, 128)
    low, length = (0, 2 * PI) if "chaotic" in name else (-1, 2)
    x = low + length * np.arange(n) / n
    k = 2j * PI / length * np.arange(n // 2 + 1)
    kept = np.arange(n // 2 + 1) < n // 3
    factor = linear(k)
    carried = factor if name.startswith("kdv") else 0 * factor

    def rates(t, state):
        v = np.exp(carried * t) * (state[: len(k)] + 1j * state[len(k) :])
        u = np.fft.irfft(v, n)
        rate = np.fft.rfft(nonlinear(u, lambda f: np.fft.irfft(k * np.fft.rfft(f), n)))
        found = np.exp(-carried * t) * (rate + (factor - carried) * v) * kept
        return np.concatenate([found.real, found.imag])

    start = np.fft.rfft(STARTS[name](x)) * kept
    method = "Radau" if "sivashinsky" in name else "DOP853"
    found = integrate.solve_ivp(
        rates, (0, last), np.concatenate([start.real, start.imag]), method, rtol=1e-9, atol=1e-9
    )
    v = np.exp(carried * last) * (found.y[: len(k), -1] + 1j * found.y[len(k) :, -1])
    return x, np.fft.irfft(v, n)


@pytest.mark.parametrize(
    ("name", "last", "bound"),
    [
        ("allen-cahn", 0.2, 2e-5),
        ("kdv", 0.2, 1e-6),
        ("kdv-raissi", 0.2, 1e-6),
        ("kuramoto-sivashinsky", 0.1, 1e-5),
        ("ks-chaotic", 0.04, 1e-9),
    ],
)
def test_reference_on_a_ring_is_another_computation(name, last, bound):
    """At a time when errors of the other one are far below the bound."""
    problem = GALLERY[name]()
    x, expected = on_a_ring(name, last)
    points, u = reference(name)
    u, times = u.reshape(problem.counts), points[:: problem.counts[1], 0]
    ours = u[int((times - last).abs().argmin())]
    assert (times - last).abs().min() < 1e-12
    # The points of one grid are some of the other's, or it is the trigonometric interpolant's.
    modes = torch.fft.rfft(ours[:-1]) / (len(ours) - 1)
    length = 2 * PI if "chaotic" in name else 2.0
    at = torch.from_numpy(x) - points[0, 1]
    waves = torch.exp(2j * PI / length * at[:, None] * torch.arange(len(modes)))
    found = 2 * (waves @ modes).real - modes[0].real
    assert (found - torch.from_numpy(expected)).abs().max() < bound


@pytest.mark.parametrize("name", RINGS)
def test_start_and_ends_of_references_on_a_ring(name):
    problem = GALLERY[name]()
    points, u = reference(name)
    u, x = u.reshape(problem.counts), points[: problem.counts[1], 1]
    assert (u[:, 0] - u[:, -1]).abs().max() < 1e-9
    torch.testing.assert_close(u[0], torch.from_numpy(STARTS[name](x.numpy())), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in RINGS if "chaotic" not in name])
def test_references_agree_at_two_resolutions(name):
    problem = GALLERY[name]()
    problem.modes, problem.steps = 3 * problem.modes // 4, problem.steps // 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coarse = problem.test_grid()[1]
    fine = reference(name)[1]
    assert (coarse - fine).norm() < 1e-8 * fine.norm()


# Velocities in the centre: Botella and Peyret (1998) at Re = 1000, others by the same method.
CENTRES = {"cavity": (-0.20915, 0.05754), "cavity-1000": (-0.0620561, 0.0257995)}


@pytest.mark.parametrize("name", CENTRES)
def test_velocity_in_the_centre_of_the_cavity(name):
    points, values = reference(name)
    centre = values[(points == 0.5).all(1), :2][0]
    assert (centre - centre.new_tensor(CENTRES[name])).abs().max() < 1e-3


@pytest.mark.parametrize("name", ["cavity", "cavity-400", "cavity-1000", "cavity-3200"])
def test_flow_in_the_cavity(name):
    """On the walls, and that no fluid is lost: the flux through each line across is zero."""
    points, values = reference(name)
    x, y = points.T
    assert len(points) == 33**2 - 2
    walls = ((x == 0) | (x == 1) | (y == 0)) & (y < 1)
    assert values[walls, :2].abs().max() < 1e-9
    lid = (y == 1) & (x > 0) & (x < 1)
    assert (values[lid, 0] - 1).abs().max() < 1e-9
    assert values[lid, 1].abs().max() < 1e-9
    assert values[:, 2].isnan().all()
    simpson = torch.tensor([1.0] + [4.0, 2.0] * 15 + [4.0, 1.0], dtype=torch.float64) / 96
    for column in (0.25, 0.5, 0.75):
        assert abs((simpson * values[x == column, 0]).sum()) < 2e-3


def test_ghias_table():
    """Ghia, Ghia and Shin (1982), Re = 100, u on the vertical line through the centre."""
    points, values = reference("cavity")
    table = {0.5: -0.20581, 0.28125: -0.15662, 0.0625: -0.04192, 0.96875: 0.78871}
    for y, u in table.items():
        found = values[(points[:, 0] == 0.5) & (points[:, 1] == y), 0]
        assert abs(found.item() - u) < 5e-3


def test_other_reynolds_numbers():
    for bad in (0, -100, math.nan):
        with pytest.raises(ValueError, match="Cavity: reynolds: expected"):
            gallery.Cavity(bad)
    with pytest.raises(ValueError, match=r"Cavity.test_grid: expected a reynolds of 100, 400"):
        gallery.Cavity(500).test_grid()
