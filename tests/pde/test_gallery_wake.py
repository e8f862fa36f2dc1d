"""The wake of a cylinder: its data, and that its constants are learned."""

from __future__ import annotations

import pytest
import torch

from pyneural.pde import gallery
from tests.pde.gallery_paper import differences, inside, small_network


def test_wake_obeys_the_equations_and_has_vortices():
    points, values = gallery.Cylinder().fields()
    u, v, p = values.reshape(3, 57, 33, 3).unbind(-1)
    points = points.reshape(3, 57, 33, 3)
    dt, h = points[1, 0, 0, 0] - points[0, 0, 0, 0], points[0, 1, 0, 1] - points[0, 0, 0, 1]
    assert abs(p[:, 0, 0]).max() < 1e-6  # where it is counted from
    terms = {}
    for name, w, p_i in (
        ("u", u, differences(p[1], 0, h, 1)),
        ("v", v, differences(p[1], 1, h, 1)),
    ):
        slopes = [differences(w[1], axis, h, 1) for axis in (0, 1)]
        curved = sum(differences(w[1], axis, h, 2) for axis in (0, 1))
        w_t = (w[2] - w[0]) / (2 * dt)
        carried = u[1] * slopes[0] + v[1] * slopes[1]
        inner = slice(4, -4), slice(4, -4)
        residual = (w_t + carried + p_i - 0.01 * curved)[inner]
        assert residual.square().mean().sqrt() < 0.1 * w_t[inner].square().mean().sqrt()
        terms[name] = slopes
    divergence = (terms["u"][0] + terms["v"][1])[2:-2, 2:-2]
    assert (
        divergence.square().mean().sqrt() < 0.02 * terms["u"][1][2:-2, 2:-2].square().mean().sqrt()
    )
    assert v[1].max() > 0.3
    assert v[1].min() < -0.3


def test_measured_velocities_of_the_wake():
    wake = gallery.Cylinder()
    conditions = wake.conditions(500, dtype=torch.float64)
    assert [len(part.points) for part in conditions.values()] == [500] * 3
    # Those that were measured about t = 3 are near the field there.
    everything = wake.conditions(2000, dtype=torch.float64)["u"]
    points, values = wake.test_grid()
    near = (everything.points[:, 0] - 3).abs() < 0.01
    for where, u in zip(everything.points[near], everything.target[near], strict=True):
        distance = (points[:, 1:] - where[1:]).norm(dim=1)
        assert abs(values[distance.argmin(), 0] - u) < 0.15
    with pytest.raises(ValueError, match=r"Cylinder.conditions: points: expected at most 2,000"):
        wake.conditions(2001)


def test_constants_of_the_wake_are_learned():
    wake = gallery.Cylinder().double()
    wake.loss(small_network(wake), inside(wake)).backward()
    assert {name for name, p in wake.named_parameters() if p.grad.abs() > 0} == set(wake.truth)
