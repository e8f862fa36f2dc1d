"""Single shapes: measures, distances, normals and points against independent values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pyneural.pde import (
    SAMPLINGS,
    Ball,
    Box,
    Disk,
    Ellipse,
    Interval,
    Mesh,
    Polygon,
    Polyhedron,
)

shapely = pytest.importorskip("shapely")
stats = pytest.importorskip("scipy.stats")
special = pytest.importorskip("scipy.special")

STAR = [(0, 0), (2, 0.2), (1.2, 1), (2.1, 2), (0.9, 1.3), (-0.3, 2.2), (0.3, 0.9)]  # not convex
CORNERS = [(0, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 3)]
TETRAHEDRON = Polyhedron(CORNERS, [(0, 1, 2), (0, 1, 3), (0, 2, 3), (3, 1, 2)])
SHAPES = {
    "interval": Interval(-1, 3),
    "box": Box(x=(0, 2), y=(-1, 0), z=(1, 4)),
    "disk": Disk(x=1, y=-2, radius=0.7),
    "ellipse": Ellipse(x=1, y=2, radii=(2, 0.5), angle=0.4),
    "ball": Ball(x=0, y=1, z=2, radius=1.5),
    "ball in 5 dimensions": Ball(a=0, b=1, c=2, d=3, e=4, radius=2),
    "polygon": Polygon(STAR),
    "tetrahedron": TETRAHEDRON,
    "triangles": Mesh([(0, 0), (1, 0), (1, 1), (0, 2)], [(0, 1, 2), (2, 0, 3)]),
    "tetrahedra": Mesh([*CORNERS, (2, 1, 3)], [(0, 1, 2, 3), (1, 2, 3, 4)]),
    "cylinder": Disk(x=0, y=0, radius=1) * Interval(0, 2, name="z"),
    "annulus": Disk(x=0, y=0, radius=1) - Disk(x=0.2, y=0, radius=0.5),
    "two disks": Disk(x=0, y=0, radius=1) | Disk(x=1, y=0, radius=1),
    "ball minus box": Ball(x=0, y=0, z=0, radius=1) - Box(x=(0, 2), y=(0, 2), z=(-2, 2)),
}
MEASURES = {  # interior, boundary
    "interval": (4, 2),
    "box": (6, 2 * (2 * 1 + 2 * 3 + 1 * 3)),
    "disk": (math.pi * 0.49, 2 * math.pi * 0.7),
    "ellipse": (math.pi, 8 * special.ellipe(1 - 0.5**2 / 2**2)),
    "ball": (4 / 3 * math.pi * 1.5**3, 4 * math.pi * 1.5**2),
    "ball in 5 dimensions": (8 / 15 * math.pi**2 * 2**5, 8 / 3 * math.pi**2 * 2**4),
    "polygon": (shapely.Polygon(STAR).area, shapely.Polygon(STAR).length),
    "tetrahedron": (1, 1 + 3 + 1.5 + 3.5),  # |(2, -1, 0) x (2, 0, -3)| / 2 = 7 / 2
    "triangles": (1.5, 1 + 1 + math.sqrt(2) + 2),
    "tetrahedra": (3, None),
    "cylinder": (2 * math.pi, 2 * math.pi + 4 * math.pi),
    "annulus": (0.75 * math.pi, 3 * math.pi),
    # Two thirds of each circle are left; the lens between them is in both disks.
    "two disks": (2 * math.pi - (2 * math.pi / 3 - math.sqrt(3) / 2), 8 * math.pi / 3),
    "ball minus box": (None, None),
}
# Of the balls the proposals fill all; of these shapes some are rejected.
VOLUMES = {"ball minus box": 0.75 * 4 / 3 * math.pi}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", SHAPES)
def test_measures_are_exact(name):
    shape, (inner, outer) = SHAPES[name], MEASURES[name]
    if inner is None:
        assert shape.measure is None
    else:
        assert shape.measure == pytest.approx(inner, rel=1e-12)
    if outer is not None:
        assert shape.boundary_measure() == pytest.approx(outer, rel=1e-9)


@pytest.mark.parametrize("name", SHAPES)
def test_the_inside_has_the_right_measure_and_is_in_the_bounds(name):
    shape = SHAPES[name]
    unit = torch.quasirandom.SobolEngine(shape.dim, scramble=True, seed=1).draw(20_000)
    low, high = shape.low - 0.1, shape.high + 0.1
    inside = shape.contains(low + (high - low) * unit.double())
    estimate = float(inside.double().mean() * (high - low).prod())
    exact = MEASURES[name][0] or VOLUMES[name]
    assert estimate == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("name", SHAPES)
def test_samples_are_inside_in_any_dtype_and_repeat(name, sampling):
    shape = SHAPES[name]
    single, double, other = (
        shape.sample(400, sampling=sampling, generator=seeded(seed), dtype=dtype)
        for seed, dtype in ((3, torch.float32), (3, torch.float64), (4, torch.float64))
    )
    assert double.shape == (400, shape.dim)
    assert torch.equal(single, double.float())
    assert not torch.equal(double, other)
    assert shape.contains(single).all()
    assert shape.contains(double).all()
    edge, face = (
        shape.sample_boundary(400, sampling=sampling, generator=seeded(3), dtype=dtype)
        for dtype in (torch.float32, torch.float64)
    )
    assert torch.equal(edge, face.float())
    assert shape.contains(edge).all()
    assert shape.signed_distance(face).abs().max() < 1e-12


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("name", SHAPES)
def test_samples_are_uniform(name, sampling):
    # The share of any half space is that of independent points of the bounding box.
    shape, g = SHAPES[name], seeded(5)
    box = shape.low + (shape.high - shape.low) * torch.rand(
        60_000, shape.dim, generator=g, dtype=torch.float64
    )
    reference = box[shape.inside(box)]
    points = shape.sample(4000, sampling=sampling, generator=g, dtype=torch.float64)
    for _ in range(5):
        direction = torch.randn(shape.dim, generator=g, dtype=torch.float64)
        test = stats.ks_2samp((reference @ direction).numpy(), (points @ direction).numpy())
        assert test.pvalue > 1e-4, test


@pytest.mark.parametrize("name", SHAPES)
def test_normals_are_gradients_of_the_signed_distance(name):
    shape = SHAPES[name]
    points, normals = shape.boundary(200, generator=seeded(6), dtype=torch.float64)
    h = 1e-5
    slopes = torch.stack(
        [
            (shape.signed_distance(points + step) - shape.signed_distance(points - step)) / (2 * h)
            for step in h * torch.eye(shape.dim, dtype=torch.float64)
        ],
        1,
    )
    smooth = (slopes - normals).abs().amax(1) < 1e-4
    assert smooth.double().mean() > 0.98  # all but points within h of an edge
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(200).double())
    torch.testing.assert_close(shape.boundary_normals(points)[smooth], normals[smooth])


@pytest.mark.parametrize("name", ["box", "disk", "ellipse", "ball", "polygon", "tetrahedron"])
def test_signed_distance_is_that_to_the_nearest_of_many_boundary_points(name):
    shape, g = SHAPES[name], seeded(7)
    edge = shape.sample_boundary(30_000, sampling="sobol", generator=g, dtype=torch.float64)
    low, high = shape.low - 1, shape.high + 1
    points = low + (high - low) * torch.rand(100, shape.dim, generator=g, dtype=torch.float64)
    exact = torch.cdist(points, edge).amin(1)
    found = shape.signed_distance(points)
    assert (found.abs() <= exact + 1e-12).all()
    assert (exact - found.abs()).max() < 0.02
    assert torch.equal(found <= 0, shape.contains(points))


def test_the_nearer_of_two_sides_of_an_ellipse_is_found():
    g = seeded(3)
    along = 2 * torch.rand(200, generator=g, dtype=torch.float64) - 1
    across = 1e-3 * (2 * torch.rand(200, generator=g, dtype=torch.float64) - 1)
    angle = torch.linspace(0, 2 * math.pi, 20_001, dtype=torch.float64)
    ring = torch.stack([3 * angle.cos(), 0.8 * angle.sin()], 1)
    points = torch.stack([along, across], 1)
    exact = torch.cdist(points, ring).amin(1)
    bitten = Ellipse(x=0, y=0, radii=(3, 0.8)) - Disk(x=3, y=0.2, radius=0.5)  # an arc is left
    found = bitten.signed_distance(points)
    torch.testing.assert_close(-found, exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["disk", "ellipse", "ball", "polygon", "annulus"])
def test_signed_distance_has_gradients(name):
    shape = SHAPES[name]
    points = shape.sample(20, generator=seeded(8), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(shape.signed_distance, points)
    assert torch.autograd.gradgradcheck(shape.signed_distance, points)


def test_boundary_points_are_uniform_by_arc_length():
    ellipse = SHAPES["ellipse"]
    points = ellipse.sample_boundary(5000, generator=seeded(9), dtype=torch.float64)
    turned = (
        (points - ellipse.center) @ ellipse.axes @ torch.diag(1 / ellipse.axes.norm(dim=0) ** 2)
    )
    angle = torch.atan2(turned[:, 1], turned[:, 0]).numpy()
    # Arc length from the end of the long axis, by the incomplete elliptic integral.
    length = 2 * special.ellipeinc(angle - np.pi / 2, 1 - 0.5**2 / 2**2)
    whole = 8 * special.ellipe(1 - 0.5**2 / 2**2)
    assert stats.kstest((length / whole) % 1, "uniform").pvalue > 0.01
    polygon = Polygon(STAR)
    edge = polygon.sample_boundary(5000, generator=seeded(9), dtype=torch.float64)
    ring = shapely.Polygon(STAR).exterior
    along = shapely.line_locate_point(ring, shapely.points(edge.numpy())) / ring.length
    assert stats.kstest(along, "uniform").pvalue > 0.01


def test_areas_of_faces_are_shared():
    faces = TETRAHEDRON.sample_boundary(9000, sampling="lhs", generator=seeded(1))
    on_floor = (faces[:, 2] == 0).double().mean()
    assert on_floor == pytest.approx(1 / 9, abs=0.002)
    wall = SHAPES["cylinder"].sample_boundary(600, generator=seeded(1))
    assert int((wall[:, 2] == 0).sum()) == 100
    assert int((wall[:, 2] == 2).sum()) == 100


def test_corners_and_edges_belong_to_the_domain_and_have_a_normal():
    polygon = Polygon(STAR, edges=[f"edge {i}" for i in range(7)])
    corners = torch.tensor(STAR, dtype=torch.float64)
    for points in (corners, corners.float()):
        assert polygon.contains(points).all()
        normals = polygon.boundary_normals(points).double()
        torch.testing.assert_close(normals.norm(dim=1), torch.ones(7).double(), atol=1e-6, rtol=0)
    ahead = torch.roll(corners, -1, 0) - corners
    of_edge = torch.nn.functional.normalize(torch.stack([ahead[:, 1], -ahead[:, 0]], 1))
    # Corner i is on the edges i - 1 and i: the first of them counts, for corner 0 that is edge 0.
    first = torch.stack([of_edge[max(i - 1, 0)] for i in range(7)])
    torch.testing.assert_close(polygon.boundary_normals(corners), first)
    again = polygon.boundary_normals(corners[:1], part="edge 6")
    torch.testing.assert_close(again, of_edge[6:])


def test_polygons_are_the_same_either_way_round_and_closed_or_not():
    names = ["a", None, "b", None, None, None, "c"]
    one = Polygon(STAR, edges=names)
    other = Polygon([*STAR[::-1], STAR[-1]], edges=[*names[-2::-1], names[-1]])
    assert one.measure == pytest.approx(other.measure)
    for part in "abc":
        p, n = one.boundary(20, part=part, generator=seeded(2), dtype=torch.float64)
        torch.testing.assert_close(other.boundary_normals(p, part=part), n)


def test_polyhedra_with_cavities_and_turned_faces():
    cube = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    faces = [
        *[(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 5, 7), (0, 4, 5), (0, 1, 5)],
        *[(2, 3, 7), (2, 6, 7), (0, 2, 6), (0, 4, 6), (1, 5, 7), (1, 3, 7)],
    ]
    small = (np.array(cube) * 0.5 + 0.25).tolist()
    hollow = Polyhedron(cube + small, faces + [tuple(i + 8 for i in f) for f in faces])
    assert hollow.measure == pytest.approx(1 - 0.125)
    inside = hollow.contains(torch.tensor([[0.1, 0.5, 0.5], [0.5, 0.5, 0.5], [1.1, 0.5, 0.5]]))
    assert inside.tolist() == [True, False, False]
    at = torch.tensor([[0.25, 0.5, 0.4], [0.0, 0.5, 0.4]])
    assert hollow.boundary_normals(at).tolist() == [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]
