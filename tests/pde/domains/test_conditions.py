"""Conditions on parts of any domain, with the true normals."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.pde import (
    Ball,
    Box,
    Data,
    Dirichlet,
    Disk,
    Initial,
    Mesh,
    Neumann,
    Periodic,
    PointCloud,
    Polygon,
)

CHANNEL = Box(x=(0, 2), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="cylinder")
IN_TIME = CHANNEL.with_time(0, 3)


def seeded(seed):
    return {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}


class Quadratic(torch.nn.Module):
    """u = z^T A z / 2 + b z, whose gradient is A z + b."""

    def __init__(self, dim):
        super().__init__()
        g = torch.Generator().manual_seed(dim)
        a = torch.randn(dim, dim, generator=g, dtype=torch.float64)
        self.a, self.b = a + a.T, torch.randn(dim, generator=g, dtype=torch.float64)

    def forward(self, z):
        return ((z @ self.a * z).sum(1) / 2 + z @ self.b)[:, None]

    def gradient(self, z):
        return z @ self.a + self.b

    def jet(self, z, derivatives):
        return self(z), *(self.gradient(z)[:, d : d + 1] for (d,) in derivatives)


def test_neumann_takes_every_component_of_the_normal():
    disk, u = Disk(x=1, y=2, radius=0.5), Quadratic(2)

    def slope(x, y):
        z = torch.stack([x, y], 1)
        return (u.gradient(z) * (z - torch.tensor([1.0, 2.0])) / 0.5).sum(1)

    condition = Neumann(disk, slope, 50, **seeded(0))
    assert condition.loss(u) < 1e-24
    assert Neumann(disk, lambda x, y: 1 + slope(x, y), 50, **seeded(0)).loss(u) == pytest.approx(1)
    assert Neumann(disk, slope, condition.points).loss(u) < 1e-24  # given points
    assert Neumann(disk, slope, condition.points.float().double()).loss(u) < 1e-12
    inward = Box(x=(0, 3), y=(0, 4)) - disk.named("hole")
    around = Neumann(inward, lambda x, y: -slope(x, y), 30, part="hole", **seeded(0))
    assert around.loss(u) < 1e-24


@pytest.mark.parametrize(
    "domain",
    [
        IN_TIME,
        Ball(x=0, y=0, z=0, radius=1) - Box(x=(0, 2), y=(0, 2), z=(0, 2)),
        Polygon([(0, 0), (2, 0), (1, 1)]),
        Disk(x=0, y=0, radius=1).with_time(0, 1).with_parameters(nu=(1, 2)),
        Mesh([(0, 0), (1, 0), (1, 1), (0, 1)], [(0, 1, 2), (0, 2, 3)]),
    ],
    ids=["channel", "ball", "polygon", "disk", "mesh"],
)
def test_points_and_normals_of_any_domain(domain):
    u = Quadratic(domain.dim)
    drawn = Neumann(domain, 0.0, 200, **seeded(1))
    assert domain.contains(drawn.points).all()
    ahead, behind = (drawn.points + s * 1e-4 * drawn.normals for s in (1, -1))
    assert not domain.contains(ahead).double().mean() > 0.02
    assert domain.contains(behind).double().mean() > 0.98
    exact = (u.gradient(drawn.points) * drawn.normals).sum(1, keepdim=True)
    torch.testing.assert_close(drawn.residuals(u)[0], exact)
    torch.testing.assert_close(Dirichlet(domain, 0.0, drawn.points).normals, drawn.normals)
    with pytest.raises(ValueError, match=r"points: expected points on the boundary of"):
        Dirichlet(domain, 0.0, domain.sample(3, **seeded(2)))


def test_parts_sides_and_times():
    def at(**where):
        return Dirichlet(IN_TIME, 0.0, 40, **where, **seeded(0)).points

    assert (at(coordinate="x", side="low")[:, 1] == 0).all()
    assert (at(part="x_high")[:, 1] == 2).all()
    both = at(coordinate="y")
    assert ((both[:, 2] == 0) | (both[:, 2] == 1)).all()
    assert (at(side="high")[:, 1:] == torch.tensor([2.0, 1.0])).any(1).all()
    rim = at(part="cylinder")
    torch.testing.assert_close((rim[:, 1:] - 0.5).norm(dim=1), torch.full((40,), 0.2).double())
    assert (at(coordinate="t", side="high")[:, 0] == 3).all()
    start = Initial(IN_TIME, lambda x, y: x * y, 60, **seeded(0))
    assert (start.points[:, 0] == 0).all()
    assert CHANNEL.contains(start.points[:, 1:]).all()
    assert torch.equal(start.target[:, 0], start.points[:, 1] * start.points[:, 2])
    assert len(Initial(IN_TIME, 0.0, start.points).points) == 60


def test_periodic_needs_a_partner_for_each_point():
    ring = Periodic(IN_TIME, "x", 30, **seeded(0))
    assert (ring.points[:, 1] == 0).all()
    assert (ring.opposite[:, 1] == 2).all()
    assert torch.equal(ring.points[:, [0, 2]], ring.opposite[:, [0, 2]])
    step = Box(x=(0, 2), y=(0, 1)) | Box(x=(0, 1), y=(0, 2))
    with pytest.raises(ValueError, match=r"Periodic: coordinate: expected a partner on 'x_high' f"):
        Periodic(step, "x", 30, **seeded(0))
    with pytest.raises(ValueError, match="Periodic: coordinate: expected one with a part 'x_low'"):
        Periodic(Disk(x=0, y=0, radius=1), "x", 5)


def test_the_tolerance_of_given_points():
    disk = Disk(x=0, y=0, radius=1)
    angle = torch.linspace(0, 6, 50, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    for off in (0, -1e-6, -1.9e-6, 1.9e-6):  # 1e-6 of the diameter
        given = Dirichlet(disk, 0.0, (1 + off) * circle).points
        assert torch.equal(given, (1 + off) * circle)
    with pytest.raises(ValueError, match="on the boundary of Disk"):
        Dirichlet(disk, 0.0, (1 - 2.1e-6) * circle)
    with pytest.raises(ValueError, match="50 of 50 outside"):
        Dirichlet(disk, 0.0, (1 + 2.1e-6) * circle)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda: Dirichlet(CHANNEL, 0.0, 5, part="disk"),
            "Dirichlet: part: expected some of x_low",
        ),
        (
            lambda: Dirichlet(CHANNEL, 0.0, 5, part="cylinder", coordinate="x"),
            "Dirichlet: part: expected a part or a coordinate with its side, got both",
        ),
        (lambda: Dirichlet(CHANNEL, 0.0, 5, part="cylinder", side="low"), "got both"),
        (
            lambda: Dirichlet(Disk(x=0, y=0, radius=1), 0.0, 5, coordinate="x"),
            "coordinate: expected one with a part 'x_low' of the boundary, got Disk",
        ),
        (
            lambda: Dirichlet(IN_TIME.with_parameters(k=(0, 1)), 0.0, 5, coordinate="k"),
            "coordinate: .*got the parameter 'k'",
        ),
        (lambda: Initial(CHANNEL, 0.0, 5), "Initial: domain: expected a coordinate t"),
        (
            lambda: Initial(IN_TIME, 0.0, torch.tensor([[1.0, 1.0, 0.5]])),
            r"Initial: points: expected points with t = 0, got \[1.0, 1.0, 0.5\]",
        ),
        (
            lambda: Initial(IN_TIME, 0.0, torch.tensor([[0.0, 0.5, 0.5]])),
            "Initial: points: expected points in .*outside, the first t=0, x=0.5, y=0.5",
        ),
        (
            lambda: Dirichlet(CHANNEL, 0.0, torch.tensor([[0.0, 0.5]]), part="cylinder"),
            r"expected points on 'cylinder' of .* got \[0.0, 0.5\]",
        ),
        (
            lambda: Data(torch.tensor([[0.5, 0.5]]), torch.zeros(1), domain=CHANNEL),
            "Data: points: .* 1 of 1 outside",
        ),
        (
            lambda: Neumann(PointCloud([[0.0]], [[1.0]], names="x"), 0.0, 1),
            "Neumann: domain: expected one with outward normals",
        ),
    ],
)
def test_conditions_where_there_is_no_boundary(build, text):
    with pytest.raises(ValueError, match=text):
        build()


def test_a_cloud_carries_conditions():
    angle = torch.arange(8) * math.pi / 4
    rim = torch.stack([angle.cos(), angle.sin()], 1)
    cloud = PointCloud([[0.0, 0.0]], {"rim": rim}, {"rim": rim}, names="xy").with_time(0, 1)
    insulated = Neumann(cloud, 0.0, 20, part="rim", **seeded(0))
    torch.testing.assert_close(insulated.normals[:, 1:], insulated.points[:, 1:])
    bare = PointCloud([[0.0, 0.0]], rim, names="xy")
    assert len(Dirichlet(bare, 0.0, 8).points.unique(dim=0)) == 8
