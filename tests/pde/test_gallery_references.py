"""References of the gallery that no formula gives, against other computations."""

from __future__ import annotations

import pytest
import torch

from pyneural.pde.gallery import GALLERY
from tests.pde.gallery_paper import PI, differences, reference


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


def test_reference_of_allen_and_cahn():
    problem = GALLERY["allen-cahn"]()
    points, u = reference("allen-cahn")
    u, x = u.reshape(problem.counts), points[: problem.counts[1], 1]
    dt, dx = 1 / (problem.counts[0] - 1), 2 / (problem.counts[1] - 1)
    u_t, u_xx = differences(u, 0, dt, 1), differences(u, 1, dx, 2)
    residual = (u_t - 0.001 * u_xx - 5 * (u - u**3))[2:-2, 2:-2]
    assert residual.square().mean().sqrt() < 0.01 * u_t.nan_to_num().square().mean().sqrt()
    torch.testing.assert_close(u[0], x**2 * (PI * x).cos(), rtol=1e-9, atol=1e-9)
    assert (u[:, [0, -1]] + 1).abs().max() < 1e-9


def test_reference_of_kuramoto_and_sivashinsky():
    """Derivatives in space by the Fourier series of the grid, in time by differences."""
    problem = GALLERY["kuramoto-sivashinsky"]()
    points, u = reference("kuramoto-sivashinsky")
    u = u.reshape(problem.counts)
    assert (u[:, 0] - u[:, -1]).abs().max() < 1e-9
    start, u = points[: problem.counts[1] - 1, 1], u[:, :-1]
    torch.testing.assert_close(u[0], -(PI * start).sin(), rtol=1e-9, atol=1e-9)
    k = 1j * PI * torch.fft.rfftfreq(u.shape[1], 1 / u.shape[1], dtype=torch.float64)
    u_x, u_xx, u_xxxx = (
        torch.fft.irfft(k**order * torch.fft.rfft(u), u.shape[1]) for order in (1, 2, 4)
    )
    u_t = differences(u, 0, points[-1, 0].item() / (problem.counts[0] - 1), 1)
    residual = (u_t + 5 * u * u_x + 0.5 * u_xx + 0.005 * u_xxxx)[5:-5]
    assert residual.square().mean().sqrt() < 0.02 * u_t[5:-5].square().mean().sqrt()
