"""What problems of the gallery are given: constants, numbers of points and of dimensions."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.pde import gallery
from tests.pde.gallery_paper import inside, small_network


def test_number_of_dimensions():
    for dim in range(1, 11):
        points, values = gallery.Poisson(dim).test_grid()
        assert points.shape[1] == dim
        torch.testing.assert_close(values[:, 0], (-((points - 0.5) ** 2).sum(1)).exp())
    for dim in (0, 11, 2.5):
        with pytest.raises(ValueError, match="Poisson: dim: expected"):
            gallery.Poisson(dim)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (gallery.Burgers, "nu"),
        (gallery.Heat, "alpha"),
        (gallery.Helmholtz, "k"),
        (gallery.Lorenz, "sigma"),
        (gallery.Lorenz, "beta"),
        (gallery.LotkaVolterra, "alpha"),
        (gallery.LotkaVolterra, "beta"),
        (gallery.LotkaVolterra, "gamma"),
        (gallery.LotkaVolterra, "delta"),
        (gallery.Wave, "c"),
        (gallery.ReactionDiffusion, "rho"),
        (gallery.TaylorGreen, "nu"),
        (gallery.Kovasznay, "nu"),
    ],
)
def test_constants_are_checked_and_learned(make, argument):
    where = f"{make.__name__}: {argument}: expected"
    for bad in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"{where} a.* > 0, got {bad}"):
            make(**{argument: bad})
        with pytest.raises(ValueError, match=f"{where} a.* > 0, got {bad}"):
            make(**{argument: torch.nn.Parameter(torch.tensor(bad))})
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=f"{where} a finite number, got {bad}"):
            make(**{argument: bad})
    for bad in ("1", True, None, 1j):
        with pytest.raises(ValueError, match=f"{where} a number, got {bad!r}"):
            make(**{argument: bad})
    for bad in (torch.ones(2), torch.ones((), dtype=torch.complex64)):
        with pytest.raises(ValueError, match=f"{where} one real number, got torch"):
            make(**{argument: bad})
    constant = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    problem = make(**{argument: constant})
    assert list(problem.parameters()) == [constant]
    problem.loss(small_network(problem), inside(problem)).backward()
    assert constant.grad.abs() > 0


def test_lorenz_of_any_rayleigh_number():
    """Heated from above, too; but by a number."""
    assert gallery.Lorenz(rho=-3.0).rates(1.0, 0.0, 0.0)[1] == -3.0
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=f"Lorenz: rho: expected a finite number, got {bad}"):
            gallery.Lorenz(rho=bad)
        with pytest.raises(ValueError, match="Box: t: expected finite bounds"):
            gallery.Lorenz(last=bad)


def test_too_few_points():
    with pytest.raises(ValueError, match=r"Heat.conditions: points: expected at least 2, got 1"):
        gallery.Heat().conditions(1)


def test_a_problem_without_an_exact_solution_says_so():
    points = torch.zeros(1, 2)
    with pytest.raises(NotImplementedError, match=r"AllenCahn.exact: there is none; test_grid\(\)"):
        gallery.AllenCahn().solution(points)
