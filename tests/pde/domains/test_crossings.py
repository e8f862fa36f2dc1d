"""Surfaces that cross themselves, at any place, size and angle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from pyneural.pde import Polyhedron
from pyneural.pde.domains.crossings import first_crossing

QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]


def box(low, high):
    corners = np.array(list(itertools.product(*zip(low, high, strict=True))), dtype=float)
    halves = [half for a, b, c, d in QUADS for half in ((a, b, c), (a, c, d))]
    return corners, np.array(halves)


def sphere(times, radius=1.0, centre=(0, 0, 0)):
    """An octahedron whose triangles are divided by four some times."""
    corners = [np.array(p) for k in range(3) for p in (np.eye(3)[k], -np.eye(3)[k])]
    faces = [(x, y, z) for x in (0, 1) for y in (2, 3) for z in (4, 5)]
    for _ in range(times):
        middles, finer = {}, []
        for face in faces:
            middle = []
            for p, q in ((0, 1), (1, 2), (2, 0)):
                edge = min(face[p], face[q]), max(face[p], face[q])
                if edge not in middles:
                    point = corners[edge[0]] + corners[edge[1]]
                    corners.append(point / np.linalg.norm(point))
                    middles[edge] = len(corners) - 1
                middle.append(middles[edge])
            (a, b, c), (ab, bc, ca) = face, middle
            finer += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
        faces = finer
    return radius * np.array(corners) + np.array(centre), np.array(faces)


def joined(*parts):
    starts = np.cumsum([0, *(len(corners) for corners, _ in parts[:-1])])
    faces = [f + start for (_, f), start in zip(parts, starts, strict=True)]
    return np.concatenate([corners for corners, _ in parts]), np.concatenate(faces)


def pulled_through():
    """A sphere whose northern tip is pulled out at the southern one."""
    corners, faces = sphere(2)
    corners[corners[:, 2].argmax()] = 0, 0, -1.5
    return corners, faces


CUBE = box((0, 0, 0), (1, 1, 1))
GOOD = {
    "box": (CUBE, 1),
    "two apart": (joined(CUBE, box((2, 0, 0), (3, 1, 1))), 2),
    "cavity": (joined(CUBE, box((0.2,) * 3, (0.8,) * 3)), 1 - 0.6**3),
    "a tip on a face": (joined(CUBE, sphere(0, 0.5, (0.5, 0.5, 1.5))), 1 + 4 / 3 * 0.5**3),
    "near spheres": (joined(sphere(2), sphere(2, 1.0, (2.02, 0, 0))), None),
    "thin shell": (joined(sphere(2), sphere(2, 0.99)), None),
}
CROSSED = {
    "corner in a box": joined(CUBE, box((0.5,) * 3, (1.5,) * 3)),
    "faces in one plane": joined(CUBE, box((0.5, 0, 0), (1.5, 1, 1))),
    "bar through a box": joined(CUBE, box((0.4, 0.4, -1), (0.6, 0.6, 2))),
    "edges through edges": joined(CUBE, box((0.5, 0.25, 0.5), (1.5, 0.75, 1.5))),
    "face on a face": joined(CUBE, box((0.2, 0.2, 1), (0.8, 0.8, 2))),
    "corners on a face": joined(CUBE, sphere(0, 0.3, (0.5, 0.5, 1))),
    "spheres": joined(sphere(2), sphere(2, 1.0, (1.7, 0, 0))),
    "pulled through": pulled_through(),
}
PLACES = {
    "here": lambda corners: corners,
    "turned": lambda corners: corners @ TURN,
    "large": lambda corners: 1e3 * corners @ TURN + 1e4,
    "small": lambda corners: 1e-4 * corners @ TURN + 3,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", GOOD)
def test_good_surface(name, place):
    (corners, faces), measure = GOOD[name]
    moved = PLACES[place](corners)
    body = Polyhedron(moved, faces)
    if measure is not None:
        unit = abs(np.linalg.det(moved[[1, 2, 4]] - moved[0]))
        np.testing.assert_allclose(body.measure, measure * unit, rtol=1e-6)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", CROSSED)
def test_surface_that_crosses_itself(name, place):
    corners, faces = CROSSED[name]
    with pytest.raises(ValueError, match="expected a surface that does not cross itself, got the"):
        Polyhedron(PLACES[place](corners), faces)


def test_triangles_that_were_found_cross():
    """Of random triangles the first pair, against edges through triangles, one by one."""
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(60):
        corners = rng.normal(size=(9, 3)) + np.repeat(0.7 * rng.normal(size=(3, 3)), 3, 0)
        triangles = np.arange(9).reshape(3, 3)
        crossing = [
            pair for pair in itertools.combinations(range(3), 2) if edges_cross(corners, *pair)
        ]
        first = first_crossing(corners, triangles)
        assert (first in crossing) if crossing else first is None
        found += bool(crossing)
    assert 10 < found < 50


def edges_cross(corners, one, other):
    """Whether an edge of one triangle goes through the other, by solving for the place."""
    for a, b in ((one, other), (other, one)):
        p, q, r = corners[3 * a : 3 * a + 3]
        for k in range(3):
            s, t = corners[3 * b + k], corners[3 * b + (k + 1) % 3]
            u, v, w = np.linalg.solve(np.stack([q - p, r - p, s - t], 1), s - p)
            if u > 0 and v > 0 and u + v < 1 and 0 < w < 1:
                return True
    return False


def test_bodies_that_overlap_are_joined_as_the_message_says():
    one = Polyhedron(*CUBE)
    other = Polyhedron(*box((0.5,) * 3, (1.5,) * 3))
    inside = (one | other).contains(torch.tensor([[0.7, 0.7, 0.7], [1.4, 1.4, 1.4], [1.4, 0, 0]]))
    assert inside.tolist() == [True, True, False]
