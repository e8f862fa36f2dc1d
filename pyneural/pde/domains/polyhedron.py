"""Polyhedra, given by a closed surface of triangles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pyneural.pde.domains.crossings import first_crossing
from pyneural.pde.domains.simplicial import Simplicial, coordinates, numbers, winding


class Polyhedron(Simplicial):
    """A body in space with a surface of triangles, counted either way round.

    The surface may have several parts, of which some may be cavities in others.

    Args:
        vertices: corners, [V, 3]; those at the same place are one.
        faces: indices of the corners of each triangle, [F, 3].
        names: of the three coordinates.
        name: of the boundary, as ``part=`` takes it.

    Raises:
        ValueError: a surface that is not closed (an edge that is not shared by two triangles) or
            crosses itself, a triangle without area, indices or numbers that do not fit.

    >>> corners = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    >>> body = Polyhedron(corners, [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)])
    >>> round(6 * body.measure, 9), round(body.boundary_measure(), 4)
    (1.0, 2.366)
    """

    kind = "Polyhedron"

    def __init__(
        self,
        vertices: Any,
        faces: Any,
        *,
        names: str | Sequence[str] = "xyz",
        name: str | None = None,
    ) -> None:
        named = coordinates("Polyhedron", names, (3,))
        corners = numbers("Polyhedron", "vertices", vertices, 3)
        triangles = indices("Polyhedron: faces", faces, 3, len(corners))
        corners, same = np.unique(corners, axis=0, return_inverse=True)
        triangles = oriented(corners, same.reshape(-1)[triangles])
        _check_crossings(corners, triangles)
        labels = [() if name is None else (name,)] * len(triangles)
        super().__init__(named, corners[triangles], labels, None)

    def __repr__(self) -> str:
        return f"Polyhedron({len(self.facets)} triangles)"


def indices(where: str, values: Any, columns: int, count: int) -> np.ndarray:
    """Whole numbers [N, columns] below count; ValueError for anything else."""
    array = torch.as_tensor(values, device="cpu").numpy().copy()
    good = array.ndim == 2 and len(array) and array.shape[1] == columns and array.dtype.kind in "iu"
    if not good or array.min() < 0 or array.max() >= count:
        raise ValueError(
            f"{where}: expected whole numbers [N, {columns}] from 0 to {count - 1}, which count "
            f"the points, got {array.dtype} {list(array.shape)}"
            f"{f' from {array.min()} to {array.max()}' if good else ''}; correct them"
        )
    return array


def _check_crossings(corners: np.ndarray, triangles: np.ndarray) -> None:
    """ValueError where triangles cross or overlap."""
    pair = first_crossing(corners, triangles)
    if pair is not None:
        found = " and ".join(str([tuple(c) for c in corners[triangles[k]].tolist()]) for k in pair)
        raise ValueError(
            f"Polyhedron: faces: expected a surface that does not cross itself, got the triangles "
            f"{found}; move its parts away from each other, or join bodies by first | second"
        )


def oriented(corners: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Triangles of a closed surface, each counter-clockwise seen from outside the body.

    ValueError for a surface that is not closed.
    """
    where = "Polyhedron: faces"
    a, b, c = (corners[triangles[:, i]] for i in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    if (areas <= 1e-14 * np.ptp(corners, axis=0).max() ** 2).any():
        i = int(areas.argmin())
        raise ValueError(
            f"{where}: expected triangles with an area, got {tuple(triangles[i].tolist())}, whose "
            "corners are on a line; remove it, and join its neighbours"
        )
    shared: dict[tuple[int, int], list[int]] = {}
    for number, triangle in enumerate(triangles.tolist()):
        for i in range(3):
            p, q = triangle[i], triangle[i - 1]
            shared.setdefault((min(p, q), max(p, q)), []).append(number)
    for edge, owners in shared.items():
        if len(owners) != 2:
            ends = " to ".join(str(tuple(corners[i].tolist())) for i in edge)
            raise ValueError(
                f"{where}: expected a closed surface, every edge in two triangles, got the edge "
                f"from {ends} in {len(owners)}; close the surface there"
            )
    part = np.full(len(triangles), -1)
    triangles = triangles.copy()
    for start in range(len(triangles)):
        if part[start] >= 0:
            continue
        part[start] = start
        waiting = [start]
        while waiting:  # neighbours run along the edge between them in opposite directions
            here = waiting.pop()
            p, q, r = triangles[here].tolist()
            for u, v in ((p, q), (q, r), (r, p)):
                owners = shared[min(u, v), max(u, v)]
                there = owners[owners[0] == here]
                x, y, z = triangles[there].tolist()
                same = (u, v) in ((x, y), (y, z), (z, x))
                if part[there] < 0:
                    if same:
                        triangles[there] = triangles[there][::-1]
                    part[there] = start
                    waiting.append(there)
                elif same:
                    raise ValueError(
                        f"{where}: expected a surface with two sides, got one that has only one, "
                        "as a Klein bottle; correct it"
                    )
    numbers_of_parts = np.unique(part)
    for k in numbers_of_parts:
        own = triangles[part == k]
        if np.linalg.det(corners[own] - corners[own[0, 0]]).sum() < 0:
            triangles[part == k] = own[:, ::-1]
    # A part inside an odd number of others is a cavity: seen from the body it is turned round.
    outer = triangles.copy()
    for k in numbers_of_parts:
        place = torch.from_numpy(corners[outer[part == k][0]].mean(0)[None])
        around = [
            bool(winding(place, torch.from_numpy(corners[outer[part == j]])))
            for j in numbers_of_parts
            if j != k
        ]
        if sum(around) % 2:
            triangles[part == k] = outer[part == k][:, ::-1]
    return triangles
