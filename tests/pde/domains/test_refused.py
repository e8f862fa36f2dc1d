"""Domains that cannot be, and points that are not where they should be, are refused."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural import nn, pde
from pyneural.pde import (
    Ball,
    Box,
    Disk,
    Ellipse,
    Mesh,
    Operator,
    PointCloud,
    Polygon,
    Polyhedron,
)

DISK = Disk(x=0, y=0, radius=1)
PLATE = Box(x=(0, 1), y=(0, 1))
CORNERS = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
FACES = [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)]


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: Disk(x=0, y=0, radius=0), "Disk: radius: expected a number > 0, got 0.0; correct"),
        (lambda: Disk(x=0, y=0, radius=math.inf), "Disk: radius: expected a number > 0, got inf"),
        (lambda: Disk(x=0, radius=1), "Disk: center: expected two coordinates in space"),
        (lambda: Disk(t=0, x=0, radius=1), r"Disk: center: .* got t=0, x=0; .* with_time\(0, 1\)"),
        (lambda: Disk(x=math.nan, y=0, radius=1), "Disk: center: .* finite numbers, got x=nan"),
        (lambda: Ellipse(x=0, y=0, radii=(1, -1)), "Ellipse: radii: expected 2 numbers > 0"),
        (lambda: Ellipse(x=0, y=0, radii=(1,)), "Ellipse: radii: expected 2 numbers > 0"),
        (lambda: Ball(x=0, y=0, radius=1), "Ball: center: expected three coordinates or more"),
        (
            lambda: Polygon([(0, 0), (1, 0)]),
            "Polygon: vertices: expected at least 3 corners, got 2",
        ),
        (lambda: Polygon([(0, 0), (1, 1), (2, 2)]), "expected a polygon with an area"),
        (lambda: Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), "polygon with an area"),
        (
            lambda: Polygon([(0, 0), (3, 3), (3, 0), (0, 1)]),
            r"edges that do not meet, got edge 0 from \(0.0, 0.0\) and edge 2 from \(3.0, 0.0\)",
        ),
        (lambda: Polygon([(0, 0), (1, 0), (1, 0), (0, 1)]), r"got \(1.0, 0.0\) twice"),
        (lambda: Polygon([(0, 0), (2, 0), (1, 0), (1, 1)]), "edge 0 .* and edge 1 .* cross or tou"),
        (
            lambda: Polygon([(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)]),  # touches its first edge
            "edge 0 .* and edge 2 .* cross or touch",
        ),
        (lambda: Polygon([(0, 0), (1, 0), (0, math.nan)]), "Polygon: vertices: expected finite"),
        (lambda: Polygon(torch.zeros(4, 3)), r"Polygon: vertices: expected \[N, 2\], got \[4, 3\]"),
        (lambda: Polygon([(0, 0), (1, 0), (0, 1)], names="xyz"), "names: expected 2 different"),
        (lambda: Polygon([(0, 0), (1, 0), (0, 1)], names="tx"), "coordinates of space, got t, x"),
        (lambda: Polygon([(0, 0), (1, 0), (0, 1)], edges=["a"]), "edges: expected 3 names"),
        (
            lambda: Polyhedron(CORNERS, FACES[:3]),
            "expected a closed surface, .* got the edge from .* in 1; close",
        ),
        (lambda: Polyhedron(CORNERS, [*FACES, FACES[0]]), "closed surface, .* in 3; close"),
        (lambda: Polyhedron(CORNERS, [(0, 1, 4)]), r"faces: .* from 0 to 3, .* from 0 to 4; corr"),
        (lambda: Polyhedron(CORNERS, [(0.0, 1.0, 2.0)]), r"faces: expected whole numbers \[N, 3\]"),
        (
            lambda: Polyhedron([*CORNERS, (0.5, 0, 0)], [*FACES, (0, 1, 4)]),
            "triangles with an area",
        ),
        (
            lambda: Mesh([(0, 0), (1, 0), (2, 0)], [(0, 1, 2)]),
            "Mesh: cells: expected cells with an area, got 1 without, the first number 0",
        ),
        (
            lambda: Mesh(
                [(0, 0), (1, 0), (0, 1), (0.2, 0.9), (1, 1)], [(0, 1, 2), (0, 1, 3), (0, 1, 4)]
            ),
            "at most two cells at each edge, got 3",
        ),
        (
            lambda: Mesh(
                [(0, 0), (1, 0), (1, 1), (0, 1)], [(0, 1, 2), (0, 2, 3)], parts={"d": [(0, 2)]}
            ),
            r"Mesh: parts\['d'\]: expected facets of the boundary, got \[0, 2\]",
        ),
        (
            lambda: Mesh([(0, 0), (1, 0), (0, 1)], [(0, 1, 3)]),
            "from 0 to 2, which count the points",
        ),
        (lambda: Mesh([[0.0], [1.0]], [(0, 1)]), "names: expected 2 or 3 different coordinates"),
        (lambda: PointCloud([[0.0]], [[1.0]], [[0.0]], names="x"), "1 of length 0"),
        (lambda: PointCloud([[0.0]], {"a": [[1.0]]}, {"b": [[1.0]]}, names="x"), "same parts"),
        (lambda: PointCloud([[math.inf]], names="x"), "PointCloud: points: expected finite"),
        (lambda: DISK & Disk(x=3, y=0, radius=1), "Domain: &: expected shapes that overlap"),
        (lambda: DISK & Disk(x=1.6, y=1.6, radius=1), r"& Disk.*: expected a domain with an inter"),
        (lambda: PLATE & Box(x=(1, 2), y=(0, 1)), "expected shapes that overlap"),
        (lambda: DISK - Disk(x=0, y=0, radius=1), "expected a domain with an interior, got none"),
        (lambda: PLATE - Box(x=(-1, 2), y=(0, 1)), "expected a domain with an interior, got none"),
        (
            lambda: Ball(x=0, y=0, z=0, radius=1) - Ball(x=0, y=0, z=0, radius=2),
            "expected a domain with an interior, got none",
        ),
        (lambda: pde.Interval(0, 1) - pde.Interval(-1, 2), "an interior, got none"),
        (
            lambda: PLATE - Disk(x=0, z=0, radius=1),
            "Domain: -: expected two shapes with the same coordinates, got x, y of .* and x, z of",
        ),
        (lambda: Box(y=(0, 1), x=(0, 1)) | PLATE, "the same coordinates, got y, x of"),
        (
            lambda: PLATE.with_time(0, 1) - DISK,
            "got t, x, y of .* combine shapes in space, and cal",
        ),
        (
            lambda: PLATE.with_time(0, 1) - DISK.with_time(0, 2),
            r"Domain: -: t: expected the same time and parameters in both, got \(0.0, 1.0\)",
        ),
        (
            lambda: PLATE.with_parameters(z=(0, 1)) - Box(x=(0, 1), y=(0, 1), z=(0, 1)),
            "Domain: -: z: expected the same time and parameters",
        ),
        (lambda: PLATE * DISK, "Product: domains: expected different coordinates, got x twice"),
        (lambda: DISK.with_time(0, 1).with_time(0, 1), "expected a domain without t"),
        (lambda: DISK.with_time(1, 0), "Disk.with_time: t: expected finite bounds .* low < high"),
        (lambda: DISK.with_parameters(x=(0, 1)), "with_parameters: .* no coordinates, got x"),
        (
            lambda: DISK - PointCloud([[0.0, 0.0]], names="xy"),
            "Domain: -: expected shapes, got PointCloud",
        ),
    ],
)
def test_domains_that_cannot_be(build, text):
    with pytest.raises(ValueError, match=text):
        build()


def test_surfaces_with_one_side_are_refused():
    # A Moebius strip has an edge; twice the projective plane of six corners has none.
    plane = [
        *[(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 5), (0, 5, 1)],
        *[(1, 2, 4), (2, 3, 5), (3, 4, 1), (4, 5, 2), (5, 1, 3)],
    ]
    corners = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="a surface with two sides"):
        Polyhedron(corners, plane)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: DISK.sample(0), "Disk.sample: n: expected at least 1 point, got 0"),
        (lambda: DISK.sample(2.5), "Disk.sample: n: expected a whole number"),
        (
            lambda: DISK.sample(3, sampling="grid"),
            "expected one of uniform, lhs, sobol, got 'grid'",
        ),
        (lambda: DISK.sample_boundary(0), "Disk.sample_boundary: n: expected at least 1 point"),
        (
            lambda: (DISK - Disk(x=0, y=0, radius=0.5, name="hole")).sample_boundary(3, "rim"),
            r"part: expected some of hole, got 'rim'; name the boundary of a shape by named\('rim'",
        ),
        (lambda: DISK.sample_boundary(3, part=()), "part: expected some of none, got ''"),
        (lambda: DISK.sample_initial(3), r"Disk.sample_initial: domain: .* with_time\(0, 1\)"),
        (lambda: DISK.check(torch.zeros(3, 3)), r"floating-point \[N, 2\] \(x, y\), got"),
        (lambda: DISK.check(torch.tensor([[0.8, 0.8]])), "1 of 1 outside, the first x=0.8, y=0.8;"),
        (lambda: DISK.check(torch.full((1, 2), math.nan)), "1 of 1 outside"),
        (
            lambda: DISK.boundary_normals(torch.tensor([[0.0, 0.99]])),
            "off it, the first x=0, y=0.99",
        ),
        (lambda: DISK.grid(3), "Disk.grid: counts: expected 2 counts"),
        (lambda: PointCloud([[0.0]], names="x").sample(2), "n: expected at most 1, as there are p"),
        (
            lambda: PointCloud([[0.0]], [[1.0]], names="x").sample_boundary(2),
            "PointCloud.sample_boundary: n: expected at most 1",
        ),
        (
            lambda: PointCloud([[0.0]], [[1.0]], names="x").signed_distance(torch.zeros(1, 1)),
            "expected a cloud with normals",
        ),
        (lambda: PointCloud([[0.0]], names="x").sample_boundary(1), "a boundary, got PointCloud"),
    ],
)
def test_points_that_cannot_be(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_an_unknown_keyword_is_refused():
    with pytest.raises(TypeError, match=r"Disk\.sample: unexpected keyword sampler; use"):
        DISK.sample(3, sampler="lhs")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_does_not_put_a_point_outside(dtype):
    angle = torch.linspace(0, 7, 1001, dtype=torch.float64)
    for scale, shift in ((1.0, 0.0), (1e-3, 0.0), (1.0, 100.0), (1e4, 0.0)):
        disk = Disk(x=shift, y=0, radius=scale)
        rim = torch.stack([shift + scale * angle.cos(), scale * angle.sin()], 1).to(dtype)
        assert disk.contains(rim).all()
        normals = disk.boundary_normals(rim)
        exact = torch.stack([angle.cos(), angle.sin()], 1).to(dtype)
        loss = torch.finfo(dtype).eps * (abs(shift) + scale) / scale
        assert (normals - exact).abs().max() < 4 * loss
        away = 20 * torch.finfo(dtype).eps * (abs(shift) + scale)
        beyond = torch.stack(
            [shift + (scale + away) * angle.cos(), (scale + away) * angle.sin()], 1
        )
        assert not disk.contains(beyond.to(dtype)).any()
    hole = Disk(x=0, y=0, radius=2) - Disk(x=0, y=0, radius=1)
    inner = torch.stack([angle.cos(), angle.sin()], 1).to(dtype)
    assert hole.contains(inner).all()
    assert not hole.contains(inner * (1 - 1e-5)).any()


def test_sides_of_a_long_box_are_told_apart():
    long = Box(x=(0, 1e6), y=(0, 1e-3))
    points = torch.tensor([[5e5, 0.0], [5e5, 1e-3]], dtype=torch.float64)
    assert long.boundary_normals(points)[:, 1].tolist() == [-1.0, 1.0]
    with pytest.raises(ValueError, match="off it"):
        long.boundary_normals(torch.tensor([[5e5, 5e-4]], dtype=torch.float64))


def test_a_cloud_without_normals_has_none_to_give():
    cloud = PointCloud([[0.5]], {"left": [[0.0]]}, names="x")
    left = torch.tensor([[0.0]])
    with pytest.raises(ValueError, match=r"boundary_normals: domain: expected one with outward"):
        cloud.boundary_normals(left)
    for points in (1, left):
        with pytest.raises(ValueError, match="normal"):
            Operator(lambda u: u.n, points, domain=cloud, part="left")
        given = Operator(lambda u: u.n, points, domain=cloud, normals=-torch.ones(1, 1))
        slope = nn.MLP(1, [], 1)
        assert given.residuals(slope)[0].item() == pytest.approx(-slope.layers[0].weight.item())


@pytest.mark.parametrize(
    ("points", "cells", "message"),
    [
        ([(0, 0), (1, 0), (0, 1)], [(0, 1, 2), (2, 1, 0)], "cells with a boundary"),
        ([(0, 0), (1, 0), (0, 1), (1, 1)], [(0, 1, 2), (0, 1, 3)], "one cell on either side"),
        (
            [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)],
            [(0, 1, 2, 3), (2, 1, 0, 4)],
            "one cell on either side",
        ),
    ],
)
def test_cells_that_overlap_are_refused(points, cells, message):
    with pytest.raises(ValueError, match=f"Mesh: cells: expected {message}"):
        Mesh(points, cells)


def test_cells_beside_each_other_are_not():
    cube = torch.cartesian_prod(*3 * [torch.arange(2.0)])
    middle = [(0, 1, 2, 4), (1, 2, 4, 7), (1, 4, 5, 7), (1, 2, 3, 7), (2, 4, 6, 7)]
    assert Mesh(cube, middle).measure == pytest.approx(1)


def test_parts_that_there_are_not_are_named_with_a_remedy():
    domain = Box(t=(0, 1), x=(0, 1)).with_parameters(nu=(1, 2))
    with pytest.raises(
        ValueError, match=r"x_low, x_high, t_low, t_high, got 'nu_low'; a parameter"
    ):
        domain.sample_boundary(3, part="nu_low")
    with pytest.raises(ValueError, match=r"got 'wall'; name the boundary of a shape by named\("):
        domain.sample_boundary(3, part="wall")


def test_a_mesh_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"read_mesh: path: expected a file, got .*no.vtk"):
        pde.read_mesh(tmp_path / "no.vtk")
