"""Networks of the gallery, and their hard forms, which meet the conditions exactly."""

from __future__ import annotations

import pytest
import torch

from pyneural.nn import MLP
from pyneural.pde import Periodic, gallery
from pyneural.pde.gallery import GALLERY
from pyneural.pde.gallery.periodic import is_periodic
from tests.pde.gallery_paper import HARD, PI, inside, small_network


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
