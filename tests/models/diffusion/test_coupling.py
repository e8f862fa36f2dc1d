"""Couplings of noise and samples: the assignment, and what it does to the learnt paths."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from pyneural.data import toys
from pyneural.models import FlowMatching, MLPDenoiser, load_model
from pyneural.models.diffusion.coupling import optimal_transport


@pytest.mark.parametrize("shape", [(6, 1), (6, 3), (6, 2, 2)])
def test_the_assignment_is_the_best_of_all(shape):
    torch.manual_seed(0)
    noise, x = torch.randn(*shape), 2 * torch.randn(*shape) + 1

    def cost(some):
        return float((some - x).square().sum())

    found = optimal_transport(noise, x)
    best = min(cost(noise[list(order)]) for order in permutations(range(6)))
    assert cost(found) == pytest.approx(best, rel=1e-6)
    assert torch.equal(found.flatten(1).sort(0).values, noise.flatten(1).sort(0).values)


def trained(coupling, x):
    torch.manual_seed(0)
    model = FlowMatching(MLPDenoiser(2, [64, 64]), coupling=coupling)
    model.compile(lambda parameters: torch.optim.Adam(parameters, 3e-3))
    model.fit(x, batch_size=128, epochs=12, verbose=0)
    return model


def curvature(model, count=2000, steps=20):
    """Mean of |f - (x(1) - x(0))|^2 along the paths, as a share of |x(1) - x(0)|^2."""
    torch.manual_seed(1)
    x = torch.randn(count, 2)
    points, velocities = [x], []
    with torch.no_grad():
        for i in range(steps):
            velocities.append(model(x, torch.full((count,), i / steps)))
            x = x + velocities[-1] / steps
            points.append(x)
    whole = points[-1] - points[0]
    bent = torch.stack([(v - whole).square().sum(1).mean() for v in velocities]).mean()
    return float(bent / whole.square().sum(1).mean())


def error_of_a_step(model):
    """Of one step of Runge and Kutta instead of 20, root mean square."""
    found = []
    for steps in (1, 20):
        torch.manual_seed(2)
        found.append(model.sample(2000, steps=steps))
    return float((found[0] - found[1]).square().mean().sqrt())


def test_coupled_paths_are_straighter_and_need_fewer_steps(tmp_path):
    x = toys.EightGaussians().sample(6000, 0)
    independent, coupled = (trained(kind, x) for kind in ("independent", "optimal_transport"))
    assert curvature(coupled) < 0.1 * curvature(independent)
    assert error_of_a_step(coupled) < 0.3 * error_of_a_step(independent)
    coupled.save(tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors").coupling == "optimal_transport"


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match="coupling: expected a known name, got 'ot'"):
        FlowMatching(MLPDenoiser(2, [8]), coupling="ot")
    model = FlowMatching(MLPDenoiser(2, [8], condition=2), coupling="optimal_transport")
    model.compile("adam")
    with pytest.raises(ValueError, match="losses: y: expected none with coupling"):
        model.fit(torch.randn(20, 2), torch.arange(20) % 2, verbose=0)
