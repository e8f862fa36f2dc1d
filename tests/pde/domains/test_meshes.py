"""Meshes, from arrays and files, and point clouds."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from pyneural.pde import Mesh, PointCloud, Polyhedron, read_mesh

spatial = pytest.importorskip("scipy.spatial")


def ring(count=40, layers=5):
    """Points and triangles of an annulus with radii 1 and 2."""
    angle = np.arange(count) * 2 * math.pi / count
    radius = np.linspace(1, 2, layers)
    points = np.stack([np.outer(radius, f(angle)).ravel() for f in (np.cos, np.sin)], 1)
    triangles = []
    for i in range(layers - 1):
        for j in range(count):
            a, b = i * count + j, i * count + (j + 1) % count
            triangles += [(a, b, a + count), (b, b + count, a + count)]
    return points, np.array(triangles)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_boundary_of_a_mesh_is_found_by_counting():
    points, triangles = ring()
    rng = np.random.default_rng(0)
    triangles = np.array([rng.permutation(t) for t in triangles])  # in any orientation
    inner = [(j, (j + 1) % 40) for j in range(40)]
    mesh = Mesh(points, triangles, parts={"hole": inner}, name="rim")
    side = 2 * math.sin(math.pi / 40)
    assert mesh.parts == ("rim", "hole")
    assert mesh.boundary_measure() == pytest.approx(40 * side * 3)
    assert mesh.boundary_measure("hole") == pytest.approx(40 * side)
    assert mesh.measure == pytest.approx(40 * 3 / 2 * math.sin(2 * math.pi / 40))
    edge, normals = mesh.boundary(400, generator=seeded(0), dtype=torch.float64)
    radius = edge.norm(dim=1)
    hole = radius < 1.5
    assert abs(int(hole.sum()) - 400 / 3) <= 1
    along = (edge * normals).sum(1) / radius
    assert (along[hole] < -0.99).all()
    assert (along[~hole] > 0.99).all()
    drawn = mesh.sample(1000, sampling="sobol", generator=seeded(0), dtype=torch.float64)
    assert mesh.contains(drawn).all()
    assert (drawn.norm(dim=1) > 0.99).all()
    assert not mesh.contains(torch.zeros(1, 2)).any()


def test_tetrahedra_of_a_convex_body():
    points = np.random.default_rng(1).normal(size=(60, 3))
    hull = spatial.ConvexHull(points)
    mesh = Mesh(points, spatial.Delaunay(points).simplices)
    assert mesh.measure == pytest.approx(hull.volume)
    assert mesh.boundary_measure() == pytest.approx(hull.area)
    places = torch.from_numpy(np.random.default_rng(2).normal(size=(500, 3)))
    height = places.numpy() @ hull.equations[:, :3].T + hull.equations[:, 3]
    assert np.array_equal(mesh.contains(places).numpy(), height.max(1) <= 0)
    edge, normals = mesh.boundary(200, generator=seeded(0), dtype=torch.float64)
    outward = hull.equations[:, :3]
    nearest = abs(edge.numpy() @ outward.T + hull.equations[:, 3]).argmin(1)
    np.testing.assert_allclose(normals.numpy(), outward[nearest], atol=1e-9)
    assert mesh.contains(mesh.sample(500, generator=seeded(0))).all()
    surface = Polyhedron(points, hull.simplices)
    assert surface.measure == pytest.approx(hull.volume)


def test_meshes_are_read_from_files(tmp_path):
    meshio = pytest.importorskip("meshio")
    points, triangles = ring(12, 3)
    flat = np.concatenate([points, np.zeros((len(points), 1))], 1)
    lines = np.array([(j, (j + 1) % 12) for j in range(12)])
    tags = [np.full(len(triangles), 7), np.full(12, 3)]
    written = meshio.Mesh(
        flat,
        [("triangle", triangles), ("line", lines)],
        cell_data={"gmsh:physical": tags, "gmsh:geometrical": tags},
        field_data={"hole": np.array([3, 1]), "plate": np.array([7, 2])},
    )
    written.write(tmp_path / "ring.msh", file_format="gmsh22", binary=False)
    mesh = read_mesh(tmp_path / "ring.msh", names="rz")
    assert mesh.names == ("r", "z")
    assert mesh.parts == ("hole",)
    same = Mesh(points, triangles)
    assert mesh.measure == pytest.approx(same.measure)
    assert mesh.boundary_measure("hole") == pytest.approx(24 * math.sin(math.pi / 12))

    corners = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], dtype=float)
    meshio.Mesh(corners, [("tetra", np.array([[0, 1, 2, 3]]))]).write(tmp_path / "one.vtk")
    assert read_mesh(tmp_path / "one.vtk").measure == pytest.approx(1 / 6)
    faces = np.array([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])
    meshio.Mesh(corners, [("triangle", faces)]).write(tmp_path / "one.stl")
    surface = read_mesh(tmp_path / "one.stl", name="skin")
    assert isinstance(surface, Polyhedron)
    assert surface.measure == pytest.approx(1 / 6)
    assert surface.parts == ("skin",)
    square = meshio.Mesh(flat[:4], [("quad", np.array([[0, 1, 2, 3]]))])
    square.write(tmp_path / "quad.vtk")
    with pytest.raises(ValueError, match=r"quad.vtk: expected triangles or tetrahedra, got quad"):
        read_mesh(tmp_path / "quad.vtk")


def test_a_missing_meshio_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "meshio", None)
    with pytest.raises(ImportError, match=r"pip install 'pyneural\[mesh\]'"):
        read_mesh(tmp_path / "any.msh")


def test_point_clouds_give_their_own_points():
    g = seeded(0)
    angle = torch.rand(200, generator=g) * 2 * math.pi
    rim = torch.stack([angle.cos(), angle.sin()], 1)
    inner = torch.rand(300, 2, generator=g) - 0.5
    cloud = PointCloud(inner, {"rim": rim}, {"rim": 3 * rim}, names="xy")
    drawn = cloud.sample(300, generator=g, dtype=torch.float64)
    assert torch.equal(drawn.sort(0).values, inner.double().sort(0).values)
    some = cloud.sample(20, sampling="sobol", generator=g)
    assert len(torch.unique(some, dim=0)) == 20
    edge, normals = cloud.boundary(50, part="rim", generator=g)
    assert len(torch.unique(edge, dim=0)) == 50
    torch.testing.assert_close(normals, edge)
    torch.testing.assert_close(cloud.boundary_normals(edge), edge)
    x = torch.tensor([[0.5, 0.5], [0.9, 0.9], [0.0, 0.0]])
    assert cloud.contains(x).tolist() == [True, False, True]
    in_time = cloud.with_time(0, 2).with_parameters(k=(1, 3))
    points = in_time.sample(1000, generator=g)
    rows = {tuple(row) for row in inner.tolist()}
    assert {tuple(row) for row in points[:, 1:3].tolist()} <= rows
    assert points[:, 0].std() > 0.4
    assert in_time.contains(points).all()
    wall, normals = in_time.boundary(100, generator=g)
    torch.testing.assert_close(normals[:, 1:3], wall[:, 1:3])
    bare = PointCloud(inner, rim, names="xy")
    assert bare.contains(torch.cat([inner, rim])).all()
    assert not bare.contains(torch.zeros(1, 2)).any()
