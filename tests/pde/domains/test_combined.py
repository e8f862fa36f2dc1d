"""Unions, differences, intersections and products, against shapely and exact values."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from pyneural.pde import Ball, Box, Disk, Ellipse, Interval, Polygon

shapely = pytest.importorskip("shapely")
stats = pytest.importorskip("scipy.stats")
affinity = pytest.importorskip("shapely.affinity")

SQUARE = Box(x=(0, 2), y=(0, 2))
L_SHAPES = {
    "difference": SQUARE - Box(x=(1, 2), y=(1, 2)),
    "overlapping": Box(x=(0, 2), y=(0, 1)) | Box(x=(0, 1), y=(0, 2)),
    "side by side": Box(x=(0, 2), y=(0, 1)) | Box(x=(0, 1), y=(1, 2)),
    "polygon": Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]) & SQUARE,
    "from a larger box": (Box(x=(0, 3), y=(0, 3)) - Box(x=(1, 3), y=(1, 3))) & SQUARE,
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", L_SHAPES)
def test_l_shape(name):
    shape = L_SHAPES[name]
    assert shape.measure == pytest.approx(3, abs=1e-12)
    assert shape.boundary_measure() == pytest.approx(8, abs=1e-12)
    lhs = {"sampling": "lhs", "generator": seeded(1), "dtype": torch.float64}
    points, normals = shape.boundary(800, **lhs)
    x, y = points.T
    notch = ((x == 1) & (y > 1)) | ((y == 1) & (x > 1))
    assert abs(int(notch.sum()) - 200) <= 4
    assert (normals[notch].sum(1) == 1).all()
    outer = (x == 0) | (y == 0) | ((x == 2) & (y <= 1)) | ((y == 2) & (x <= 1))
    assert (outer | notch).all()
    # On the interface of the parts, on what is taken away, on a corner, on an edge.
    places = torch.tensor([[0.5, 1.0], [2.0, 1.5], [1.5, 1.5], [1.0, 1.0], [2.0, 0.3]])
    for dtype in (torch.float32, torch.float64):
        assert shape.contains(places.to(dtype)).tolist() == [True, False, False, True, True]
    with pytest.raises(ValueError, match=r"off it, the first x=0\.5, y=1;"):
        shape.boundary_normals(places[:1])
    exact = torch.tensor([-0.5, 0.5, 0.5, 0.0, 0.0])
    torch.testing.assert_close(shape.signed_distance(places), exact)


def test_annulus_shares_and_normals():
    annulus = Disk(x=1, y=0, radius=2, name="rim") - Disk(x=1, y=0, radius=0.5, name="hole")
    points, normals = annulus.boundary(1000, generator=seeded(0), dtype=torch.float64)
    offset = points - torch.tensor([1.0, 0.0])
    radius = offset.norm(dim=1)
    hole = (radius - 0.5).abs() < 1e-12
    assert int(hole.sum()) == 200
    sign = torch.where(hole, -1.0, 1.0).double()
    torch.testing.assert_close(normals, sign[:, None] * offset / radius[:, None])
    angle = torch.atan2(*offset[~hole].T) / (2 * math.pi) + 0.5
    assert stats.kstest(angle.numpy(), "uniform").pvalue > 0.01
    assert annulus.parts == ("rim", "hole")
    assert annulus.boundary_measure("hole") == pytest.approx(math.pi)
    assert torch.equal(
        annulus.sample_boundary(50, part=("hole", "rim"), generator=seeded(1)),
        annulus.sample_boundary(50, generator=seeded(1)),
    )


def primitive(rng):
    """A random shape and the same in shapely."""
    kind = rng.randrange(4)
    x, y = (rng.choice([0, 0.5, 1, rng.random()]) for _ in range(2))
    a, b = (rng.choice([0.5, 1, rng.uniform(0.3, 1)]) for _ in range(2))
    if kind == 0:
        return Box(x=(x, x + a), y=(y, y + b)), shapely.box(x, y, x + a, y + b)
    unit = shapely.Point(0, 0).buffer(1, quad_segs=1024)
    if kind == 1:
        return Disk(x=x, y=y, radius=a), affinity.translate(affinity.scale(unit, a, a), x, y)
    if kind == 2:
        angle = rng.uniform(0, 3)
        turned = affinity.rotate(affinity.scale(unit, a, b), angle, (0, 0), use_radians=True)
        return Ellipse(x=x, y=y, radii=(a, b), angle=angle), affinity.translate(turned, x, y)
    n = rng.randrange(4, 10)
    around = [2 * math.pi * (i + 0.7 * rng.random()) / n for i in range(n)]
    reach = [rng.uniform(0.2, 0.9) for _ in range(n)]
    ring = [(x + r * math.cos(t), y + r * math.sin(t)) for r, t in zip(reach, around, strict=True)]
    return Polygon(ring[:: rng.choice([1, -1])]), shapely.Polygon(ring)


def tree(rng, depth):
    if depth == 0:
        return primitive(rng)
    while True:
        (a, exact_a), (b, exact_b) = (tree(rng, rng.randrange(depth)) for _ in range(2))
        operation = rng.choice("|-&")
        exact = {
            "|": exact_a.union, "-": exact_a.difference, "&": exact_a.intersection
        }[operation](exact_b)  # fmt: skip
        if exact.area > 0.01:
            return {"|": a.__or__, "-": a.__sub__, "&": a.__and__}[operation](b), exact


@pytest.mark.parametrize("seed", range(12))
def test_nested_shapes_agree_with_shapely(seed):
    rng = random.Random(seed)
    shape, exact = tree(rng, 3)
    rounding = 2e-5  # of circles by polygons of 4096 corners
    assert shape.measure == pytest.approx(exact.area, abs=rounding)
    assert shape.boundary_measure() == pytest.approx(exact.length, abs=10 * rounding)
    points = torch.rand(150, 2, generator=seeded(seed), dtype=torch.float64) * 3 - 1
    places = shapely.points(points.numpy())
    sign = np.where(shapely.contains(exact, places), -1, 1)
    distance = sign * shapely.distance(exact.boundary, places)
    assert abs(shape.signed_distance(points).numpy() - distance).max() < rounding
    clear = abs(distance) > rounding
    assert (shape.contains(points).numpy() == (sign < 0))[clear].all()
    edge, normals = shape.boundary(100, generator=seeded(seed), dtype=torch.float64)
    assert shapely.distance(exact.boundary, shapely.points(edge.numpy())).max() < rounding
    shift = 1e-4 * normals
    inner = shapely.contains(exact, shapely.points((edge - shift).numpy()))
    outer = shapely.contains(exact, shapely.points((edge + shift).numpy()))
    assert inner.mean() > 0.97
    assert outer.mean() < 0.03
    drawn = shape.sample(100, generator=seeded(seed), dtype=torch.float64)
    assert shapely.distance(exact, shapely.points(drawn.numpy())).max() < rounding


def test_ball_minus_box():
    ball = Ball(x=0, y=0, z=0, radius=1, name="ball")
    shape = ball - Box(x=(0, 2), y=(0, 2), z=(0, 2)).named("box")
    points, normals = shape.boundary(4000, generator=seeded(3), dtype=torch.float64)
    radius = points.norm(dim=1)
    curved = (radius - 1).abs() < 1e-12
    # 7/8 of the sphere, and three quarters of unit disks, whose normals point into the octant.
    share = 3.5 / (3.5 + 0.75)
    assert float(curved.double().mean()) == pytest.approx(share, abs=0.02)
    torch.testing.assert_close(normals[curved], points[curved])
    assert not (points[curved] > 1e-7).all(1).any()
    flat, facing = points[~curved], normals[~curved]
    assert (flat[facing == 1] == 0).all()
    assert (facing.sum(1) == 1).all()
    assert (flat >= 0).all()
    assert (radius <= 1 + 1e-12).all()
    assert shape.parts == ("ball", "box")
    again = shape.boundary_normals(points)
    assert ((again - normals).abs() < 1e-9).all(1).double().mean() > 0.999
    octant = torch.tensor([[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0]])
    assert shape.contains(octant).tolist() == [False, True, True, True]
    with pytest.raises(ValueError, match="1 of 1 outside"):
        shape.boundary_normals(torch.tensor([[1.0, 1.0, 1.0]]).double() / math.sqrt(3))
    with pytest.raises(ValueError, match="off it"):
        shape.boundary_normals(torch.tensor([[-0.5, 0.0, 0.5]]))


def test_faces_in_space_that_touch_or_coincide():
    stacked = Box(x=(0, 1), y=(0, 1), z=(0, 1)) | Box(x=(0, 1), y=(0, 1), z=(1, 2))
    points, normals = stacked.boundary(4000, generator=seeded(0), dtype=torch.float64)
    assert not ((points[:, 2] - 1).abs() < 1e-9).any()
    ends = (points[:, 2] == 0) | (points[:, 2] == 2)
    assert float(ends.double().mean()) == pytest.approx(2 / 10, abs=0.02)
    assert torch.equal(normals, stacked.boundary_normals(points))
    middle = torch.tensor([[0.5, 0.5, 1.0]])
    assert stacked.contains(middle).all()
    with pytest.raises(ValueError, match="off it"):
        stacked.boundary_normals(middle)
    flush = Box(x=(0, 1), y=(0, 1), z=(0, 2)) | Box(x=(0, 2), y=(0, 1), z=(0, 1))
    points = flush.sample_boundary(6000, generator=seeded(0), dtype=torch.float64)
    side = points[points[:, 1] == 0]  # an L, whose corner belongs to both boxes and counts once
    assert len(side) / 6000 == pytest.approx(3 / (3 + 3 + 8), abs=0.015)
    corner = (side[:, [0, 2]] < 1).all(1).double().mean()
    assert float(corner) == pytest.approx(1 / 3, abs=0.04)
    cut = Box(x=(0, 2), y=(0, 1), z=(0, 1)) - Box(x=(1, 2), y=(0, 1), z=(0, 1))
    assert not cut.contains(torch.tensor([[1.5, 0.0, 0.5], [2.0, 0.5, 0.5]])).any()
    assert cut.boundary(500, generator=seeded(0))[0][:, 0].max() == 1


def test_a_part_that_another_shape_fills_again_is_boundary_of_that_one():
    bitten = Box(x=(0, 2), y=(0, 2), z=(0, 2)) - Ball(x=0, y=0, z=0, radius=1)
    filled = bitten | Box(x=(0, 1), y=(0, 1), z=(0, 1))
    points = filled.sample_boundary(3000, generator=seeded(0), dtype=torch.float64)
    share = float((points == 0).any(1).double().mean())
    assert share == pytest.approx(0.5, abs=0.03)
    near = (points == 0).any(1) & (points.norm(dim=1) < 1)
    assert float(near.double().mean()) == pytest.approx(3 * math.pi / 4 / 24, abs=0.02)


def test_intervals_on_the_line():
    line = (Interval(0, 5) - Interval(1, 2)) | Interval(5, 6).named("end")
    assert line.measure == pytest.approx(5)
    assert line.boundary_measure() == 4
    points, normals = line.boundary(8, dtype=torch.float64)
    assert points[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 6, 6]  # in the order of the pieces
    assert normals[:, 0].tolist() == [-1, -1, 1, 1, -1, -1, 1, 1]
    x = torch.tensor([[0.5], [1.5], [5.0], [7.0]])
    assert line.signed_distance(x).tolist() == [-0.5, 0.5, -1.0, 1.0]
    assert line.contains(x).tolist() == [True, False, True, False]


CHANNEL = Box(x=(0, 2.2), y=(0, 0.41)) - Disk(x=0.2, y=0.2, radius=0.05, name="cylinder")


@pytest.mark.parametrize(
    "channel",
    [
        CHANNEL.with_time(0, 8),
        Box(t=(0, 8)) * CHANNEL,
        Box(t=(0, 8), x=(0, 2.2), y=(0, 0.41))
        - Disk(x=0.2, y=0.2, radius=0.05, name="cylinder").with_time(0, 8),
    ],
)
def test_cylinder_in_a_channel_with_time(channel):
    assert channel.names == ("t", "x", "y")
    assert channel.spatial == ("x", "y")
    assert channel.parts == ("x_low", "x_high", "y_low", "y_high", "cylinder")
    area, rim = 2.2 * 0.41 - math.pi * 0.0025, 2 * math.pi * 0.05
    assert channel.measure == pytest.approx(8 * area)
    assert channel.boundary_measure() == pytest.approx(8 * (2 * 2.2 + 2 * 0.41 + rim))
    points = channel.sample(2000, sampling="lhs", generator=seeded(0))
    center = torch.tensor([0.2, 0.2])
    assert ((points[:, 1:] - center).norm(dim=1) >= 0.05 - 1e-7).all()
    assert stats.kstest(points[:, 0].numpy() / 8, "uniform").pvalue > 0.01
    start = channel.sample_initial(500, generator=seeded(0))
    assert (start[:, 0] == 0).all()
    assert ((start[:, 1:] - center).norm(dim=1) >= 0.05 - 1e-7).all()
    wall, normals = channel.boundary(300, part="cylinder", generator=seeded(0))
    torch.testing.assert_close(normals[:, 1:], (center - wall[:, 1:]) / 0.05, atol=1e-5, rtol=0)
    assert (normals[:, 0] == 0).all()
    assert wall[:, 0].std() > 2
    torch.testing.assert_close(channel.boundary_normals(wall), normals, atol=1e-5, rtol=0)
    every = channel.sample_boundary(1000, generator=seeded(0))
    on_rim = ((every[:, 1:] - center).norm(dim=1) - 0.05).abs() < 1e-6
    share = rim / (2 * 2.2 + 2 * 0.41 + rim)
    assert abs(int(on_rim.sum()) - 1000 * share) <= 1
    hole = torch.tensor([[1.0, 0.2, 0.2], [9.0, 1.0, 0.2], [8.0, 0.15, 0.2]])
    assert channel.contains(hole).tolist() == [False, False, True]
    assert channel.sample_boundary(7, part="t_high")[:, 0].tolist() == [8.0] * 7


def test_parameters_have_no_boundary():
    heated = CHANNEL.with_time(0, 1).with_parameters(nu=(0.1, 0.2), k=(1, 3))
    assert heated.names == ("t", "x", "y", "nu", "k")
    assert heated.spatial == ("x", "y")
    assert heated.parameters == ("nu", "k")
    assert heated.parts == CHANNEL.parts
    points, normals = heated.boundary(500, generator=seeded(0))
    assert heated.contains(points).all()
    assert points[:, 3].std() > 0.02
    assert (normals[:, [0, 3, 4]] == 0).all()
    low, high = heated.range
    assert low.tolist() == [0, 0, 0, 0.1, 1]
    assert high.tolist() == [1, 2.2, 0.41, 0.2, 3]
    assert repr(heated).endswith(".with_parameters(nu=(0.1, 0.2), k=(1.0, 3.0))")
    disk = Disk(x=0, y=0, radius=1).with_parameters(a=(0, 1))
    hole = Disk(x=0, y=0, radius=0.5).with_parameters(a=(0, 1))
    assert (disk - hole).measure == pytest.approx(0.75 * math.pi)


def test_products_of_shapes():
    pipe = (Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.5, name="bore")) * Interval(
        0, 3, name="z"
    )
    assert pipe.measure == pytest.approx(0.75 * math.pi * 3)
    assert pipe.boundary_measure() == pytest.approx(3 * math.pi * 3 + 2 * 0.75 * math.pi)
    points, normals = pipe.boundary(300, part="bore", generator=seeded(0), dtype=torch.float64)
    torch.testing.assert_close(normals[:, :2], -2 * points[:, :2])
    x = torch.tensor([[0.75, 0.0, 4.0], [2.0, 0.0, 4.0], [0.0, 0.0, 1.0], [0.75, 0.0, 0.1]])
    torch.testing.assert_close(
        pipe.signed_distance(x), torch.tensor([1.0, math.sqrt(2), 0.5, -0.1])
    )
    dented = pipe - Ball(x=1, y=0, z=1.5, radius=0.2, name="dent")
    dent, normals = dented.boundary(200, part="dent", generator=seeded(0), dtype=torch.float64)
    center = torch.tensor([1.0, 0.0, 1.5])
    torch.testing.assert_close(normals, (center - dent) / 0.2)
    assert (dent[:, :2].norm(dim=1) <= 1).all()


def test_a_box_keeps_its_own_points():
    # What boxes have always drawn: the same numbers for the same seed.
    box = Box(t=(0, 2), x=(-1, 1), y=(1, 5))
    unit = torch.rand(6, 3, generator=seeded(1), dtype=torch.float64)
    points = box.sample(6, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(points, box.low + (box.high - box.low) * unit, rtol=0, atol=0)
    assert isinstance(Box(t=(0, 1)) * Box(x=(0, 1)), Box)
    assert repr(Box(x=(0, 1)).with_time(0, 2)) == "Box(t=(0.0, 2.0), x=(0.0, 1.0))"


@pytest.mark.parametrize("depth", range(4))
def test_grids_leave_out_what_is_outside(depth):
    shape = [SQUARE, *L_SHAPES.values()][depth]
    grid = shape.grid(5, 5, dtype=torch.float64)
    assert len(grid) == (25 if shape is SQUARE else 21)
    assert shape.contains(grid).all()
