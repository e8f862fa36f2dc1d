"""Networks of the gallery, and their hard forms, which meet the conditions exactly."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from pyneural.models import PINN, suggested_pinn
from pyneural.nn import MLP
from pyneural.pde import Box, Periodic, gallery
from pyneural.pde.gallery import GALLERY
from pyneural.pde.gallery.periodic import is_periodic
from tests.pde.gallery_paper import HARD, PI, inside, small_network
from tests.tolerances import FLOAT64, assert_close


@pytest.mark.parametrize("name", HARD)
def test_hard_form_meets_the_conditions(name):
    problem = GALLERY[name]()
    network = problem.hard(small_network(problem))
    if name == "burgers":  # periodic is enough, see its hard()
        start = problem.conditions(30, dtype=torch.float64)["initial"]
        assert start.loss(network) < 1e-28
        assert Periodic(problem.domain, "x", 30, order=4, dtype=torch.float64).loss(network) < 1e-20
        network = problem.hard(MLP(2, [7, 7], 1).double())
    for label, condition in problem.conditions(30, dtype=torch.float64).items():
        assert condition.loss(network) < 1e-20, label
    # It leaves the network free inside.
    x = inside(problem)
    other = problem.hard(small_network(problem))
    assert ((network(x) - other(x)).abs().amin(0) > 0).all()


def test_a_ring_needs_a_network_that_is_periodic():
    ring = gallery.KuramotoSivashinsky()
    good = small_network(ring)
    assert is_periodic(good, ring.domain)
    torch.nn.init.zeros_(good[1].layers[-1].weight)  # constant at first
    ring.hard(good)
    bad = MLP(2, [7], 1)
    for _ in range(2):
        assert not is_periodic(bad, ring.domain)
        with pytest.raises(ValueError, match=r"Sivashinsky.hard: network: expected one that is"):
            ring.hard(bad)
        torch.nn.init.zeros_(bad.layers[-1].weight)
    # Periodic without an embedding, and with a wrong period.
    ring.hard(lambda x: torch.sin(PI * x[:, 1:]) + x[:, :1])
    with pytest.raises(ValueError, match="expected one that is periodic in x"):
        ring.hard(lambda x: torch.sin(3 * x[:, 1:]) + x[:, :1])


def test_corners_of_the_cavity():
    """Near a corner the lift is a Stokes flow, whose velocity on the lid jumps to the wall's 0."""
    cavity = gallery.Cavity(400)
    lift = cavity.hard(small_network(cavity)).lift
    for corner in (0.0, 1.0):
        points = torch.tensor([corner, 1.0]) + 1e-4 * torch.tensor([[0.3, -0.4], [0.8, -0.1]])
        points[:, 0] = (2 * corner - points[:, 0]).abs() if corner else points[:, 0]
        xy = points.double().requires_grad_()
        flow = lift(*xy.unbind(1))

        def slope(value, xy=xy):
            return torch.autograd.grad(value.sum(), xy, create_graph=True)[0]

        u, v, p = (slope(flow[:, i]) for i in range(3))
        assert (u[:, 0] + v[:, 1]).abs().max() < 1e-8 * u.abs().max()
        for row, (speed, direction) in enumerate([(u, 0), (v, 1)]):
            laplacian = slope(speed[:, 0])[:, 0] + slope(speed[:, 1])[:, 1]
            momentum = p[:, direction] - laplacian / 400
            assert momentum.abs().max() < 1e-6 * p.abs().max(), row


@pytest.mark.parametrize("reynolds", [100, 400, 3200])
def test_slower_flows_come_before(reynolds):
    before = gallery.Cavity(reynolds).easier()
    found = [flow.reynolds for flow in before] + [reynolds]
    assert 100 <= found[0] < 200
    assert all(2 * a == b for a, b in itertools.pairwise(found))
    assert all(flow.recipe.hidden == gallery.Cavity(reynolds).recipe.hidden for flow in before)


def test_window_of_a_ring():
    ring = gallery.KdV()
    ring.recipe = replace(ring.recipe, hidden=(7,))
    domain = Box(t=(0.3, 0.5), x=(-1, 1))
    start = lambda t, x: torch.exp(torch.sin(PI * x)) + 0 * t  # noqa: E731
    network = ring.window(domain, start)
    x = domain.sample(20, dtype=torch.float64)
    x[:, 0] = 0.3
    assert_close(network(x)[:, 0], torch.exp(torch.sin(PI * x[:, 1])), FLOAT64)
    x[:, 0] = 0.4
    assert (network(x)[:, 0] - torch.exp(torch.sin(PI * x[:, 1]))).abs().min() > 0
    assert Periodic(domain, "x", 30, order=3, dtype=torch.float64).loss(network) < 1e-18
    with pytest.raises(ValueError, match=r"Heat.window: expected a problem on a ring"):
        gallery.Heat().window(domain, start)


@pytest.mark.parametrize("name", GALLERY)
def test_width_of_networks(name):
    problem = GALLERY[name]()
    sizes = [p.shape for p in problem.network([5, 3]).parameters()]
    assert [size[0] for size in sizes] == [5, 5, 3, 3, len(problem.outputs), len(problem.outputs)]
    x = inside(problem, 3).float()
    assert problem.network()(x).shape == (3, len(problem.outputs))


@pytest.mark.parametrize("name", [name for name in GALLERY if name not in HARD])
def test_without_a_hard_form(name):
    problem = GALLERY[name]()
    assert not problem.recipe.hard
    with pytest.raises(ValueError, match=r"\.hard: expected a problem whose conditions can"):
        problem.hard(small_network(problem))


def test_period_of_the_string_is_no_mistake(recwarn):
    wave = gallery.Wave()
    wave.recipe = replace(wave.recipe, hidden=(7,), points=20)
    suggested_pinn(wave)
    assert not [warning for warning in recwarn if "periods" in str(warning.message)]
    with pytest.warns(UserWarning, match="expected periods that fit into the length 1 of x, got 2"):
        PINN(wave.network(), wave.conditions(30), equation=wave, domain=wave.domain)
