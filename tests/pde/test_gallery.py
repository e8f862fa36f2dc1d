"""Each problem of the gallery against its equation as on paper.

The residual is compared on a random network, and the reference is put into the paper's equation
and into the conditions: by nested autograd, which knows nothing of jets and recorders.
"""

from __future__ import annotations

import pytest
import torch

from pyneural.pde import gallery
from pyneural.pde.gallery import GALLERY
from tests.pde.gallery_paper import EXACT, PAPER, PI, ByAutograd, inside, on_paper, small_network


def test_all_are_here():
    assert set(PAPER) == set(GALLERY)
    assert set(gallery.__all__) >= {type(make()).__name__ for make in GALLERY.values()}


@pytest.mark.parametrize("name", GALLERY)
def test_residual_is_that_of_the_paper(name, nested):
    problem = GALLERY[name]()
    network, x = small_network(problem), inside(problem)
    expected = on_paper(name, problem, network, x, nested)
    got = problem.residuals(network, x)
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    loss = sum(part.square().mean() for part in expected)
    torch.testing.assert_close(problem.loss(network, x), loss, rtol=1e-9, atol=1e-9)  # fused


@pytest.mark.parametrize("name", [name for name in EXACT if name != "burgers"])
def test_exact_solution_solves_the_equation_on_paper(name, nested):
    problem = GALLERY[name]()
    x = inside(problem)
    for residual in on_paper(name, problem, problem.solution, x, nested):
        assert residual.detach().abs().max() < 1e-9


def test_cole_hopf_solves_burgers_equation():
    problem = gallery.Burgers(0.05)
    x, h = inside(problem), 1e-3

    def u(t, x):
        return problem.exact(x[:, 0] + t * h, x[:, 1])

    def at(t, s):
        return problem.exact(x[:, 0] + t * h, x[:, 1] + s * h)

    x[:, 0] = 0.1 + 0.8 * x[:, 0]
    weights = torch.tensor([1 / 12, -2 / 3, 0, 2 / 3, -1 / 12], dtype=torch.float64) / h
    second = torch.tensor([-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12], dtype=torch.float64) / h**2
    steps = range(-2, 3)
    u_t = sum(w * at(k, 0) for k, w in zip(steps, weights, strict=True))
    u_x = sum(w * at(0, k) for k, w in zip(steps, weights, strict=True))
    u_xx = sum(w * at(0, k) for k, w in zip(steps, second, strict=True))
    assert (u_t + at(0, 0) * u_x - 0.05 * u_xx).abs().max() < 1e-7


@pytest.mark.parametrize("name", EXACT)
def test_exact_solution_meets_the_conditions(name, nested):
    problem = GALLERY[name]()
    exact = ByAutograd(problem.solution, nested)
    conditions = problem.conditions(60, dtype=torch.float64)
    for label, condition in conditions.items():
        assert condition.loss(exact) < 1e-18, label
    more = lambda x: 0.1 + (x + x**2).sum(1, keepdim=True)  # noqa: E731
    wrong = ByAutograd(lambda x: problem.solution(x) + more(x), nested)
    for label, condition in conditions.items():
        assert condition.loss(wrong) > 1e-4, label


# u(0, x) as on paper.
STARTS = {
    "allen-cahn": lambda x: x**2 * (PI * x).cos(),
    "kdv": lambda x: (PI * x).cos(),
    "kdv-raissi": lambda x: (PI * x).cos(),
    "ks-chaotic": lambda x: x.cos() * (1 + x.sin()),
    "euler-beam": lambda x: (PI * x).sin(),
    "kuramoto-sivashinsky": lambda x: -(PI * x).sin(),
    "burgers": lambda x: -(PI * x).sin(),
    "heat": lambda x: (PI * x).sin() + 0.5 * (3 * PI * x).sin(),
    "wave": lambda x: (PI * x).sin() + 0.5 * (4 * PI * x).sin(),
    "reaction-diffusion": lambda x: (1 + x.exp()) ** -2,
}


@pytest.mark.parametrize("name", STARTS)
def test_start(name):
    condition = GALLERY[name]().conditions(40, dtype=torch.float64)["initial"]
    assert (condition.points[:, 0] == 0).all()
    torch.testing.assert_close(condition.target[:, 0], STARTS[name](condition.points[:, 1]))


def test_two_solitons_start_as_the_paper_says():
    condition = gallery.Schroedinger().conditions(40, dtype=torch.float64)["initial"]
    torch.testing.assert_close(condition.target[:, 0], 2 / condition.points[:, 1].cosh())
    assert condition.target[:, 1].abs().max() < 1e-14


def test_solitons_keep_their_heights_and_shift():
    """Before and after the collision the crests are k^2 / 2 high, the faster one ahead at last."""
    solitons = gallery.Solitons()
    x = torch.linspace(-200, 200, 40001, dtype=torch.float64)
    for t, order in ((-100.0, (0.18, 0.5)), (100.0, (0.18, 0.5))):
        u = solitons.exact(torch.full_like(x, t), x).nan_to_num()
        crests = u[1:-1][(u[1:-1] > u[:-2]) & (u[1:-1] > u[2:]) & (u[1:-1] > 0.01)]
        order = order if t > 0 else order[::-1]
        torch.testing.assert_close(crests.tolist(), list(order), rtol=1e-4, atol=1e-4)


def test_walls_of_the_cavity():
    cavity = gallery.Cavity()
    conditions = cavity.conditions(80, dtype=torch.float64)
    u, v = conditions["u"], conditions["v"]
    lid = u.points[:, 1] == 1
    assert 0 < lid.sum() < len(lid)
    assert (u.target[lid] == 1).all()
    assert (u.target[~lid] == 0).all()
    assert (v.target == 0).all()
    assert (u.output, v.output, conditions["pressure"].output) == (0, 1, 2)


def test_ends_of_the_beam(nested):
    conditions = gallery.EulerBeam().conditions(40, dtype=torch.float64)
    assert list(conditions) == ["initial", "velocity", "boundary", "moment"]
    for label in ("boundary", "moment"):
        points = conditions[label].points
        assert ((points[:, 1] == 0) | (points[:, 1] == 1)).all()
    bent = ByAutograd(lambda x: x[:, 1:] ** 2 + 0 * x[:, :1], nested)
    assert conditions["moment"].loss(bent) == 4  # u_xx = 2
