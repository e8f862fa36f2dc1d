"""Meshes of triangles in the plane and of tetrahedra in space, also from files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyneural.pde.domains.polyhedron import Polyhedron, indices
from pyneural.pde.domains.simplicial import Simplicial, coordinates, numbers

_FLAT = 1e-14  # of the size of a mesh to the power D: cells of less measure are flat
_CELLS = {2: "triangle", 3: "tetra"}
_FACETS = {2: "line", 3: "triangle"}


class Mesh(Simplicial):
    """A domain divided into triangles in the plane or tetrahedra in space.

    Its boundary are the edges or faces that belong to one cell alone.

    Args:
        points: corners, [P, D] with D = 2 or 3.
        cells: indices of the corners of each cell, [C, D + 1], in any orientation.
        names: of the coordinates; x, y, z by default.
        parts: names of parts of the boundary, with their edges or faces as indices [F, D] each.
        name: of the boundary.

    Raises:
        ValueError: cells without area or volume, an edge or face of more than two cells or of two
            on the same side, parts that are not on the boundary, indices or numbers that do not
            fit.

    >>> square = Mesh([(0, 0), (1, 0), (1, 1), (0, 1)], [(0, 1, 2), (0, 2, 3)],
    ...               parts={"floor": [(0, 1)]})
    >>> square.measure, square.boundary_measure(), square.boundary_measure("floor")
    (1.0, 4.0, 1.0)
    """

    kind = "Mesh"

    def __init__(
        self,
        points: Any,
        cells: Any,
        *,
        names: str | Sequence[str] | None = None,
        parts: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        corners = numbers("Mesh", "points", points, None)
        named = coordinates("Mesh", "xyz"[: corners.shape[1]] if names is None else names, (2, 3))
        dim = len(named)
        corners = numbers("Mesh", "points", corners, dim)
        elements = indices("Mesh: cells", cells, dim + 1, len(corners))
        sizes = np.linalg.det(corners[elements[:, 1:]] - corners[elements[:, :1]])
        flat = abs(sizes) <= _FLAT * np.ptp(corners[elements].reshape(-1, dim), axis=0).max() ** dim
        if flat.any():
            raise ValueError(
                f"Mesh: cells: expected cells with {'an area' if dim == 2 else 'a volume'}, got "
                f"{int(flat.sum())} without, the first number {int(flat.argmax())}; remove them"
            )
        elements[sizes < 0] = elements[sizes < 0][:, [1, 0, *range(2, dim + 1)]]
        facets = _outer_facets(elements)
        own = () if name is None else (name,)
        labels = [own] * len(facets)
        place = {frozenset(facet): i for i, facet in enumerate(facets.tolist())}
        for part, given in (parts or {}).items():
            listed = indices(f"Mesh: parts[{part!r}]", given, dim, len(corners))
            for facet in listed.tolist():
                number = place.get(frozenset(facet))
                if number is None:
                    raise ValueError(
                        f"Mesh: parts[{part!r}]: expected facets of the boundary, got {facet}, "
                        "which is none; remove it"
                    )
                labels[number] = (*labels[number], part)
        self.count = len(elements)
        super().__init__(named, corners[facets], labels, corners[elements])

    def __repr__(self) -> str:
        return f"Mesh({self.count} {'triangles' if self.dim == 2 else 'tetrahedra'})"


def _outer_facets(elements: np.ndarray) -> np.ndarray:
    """Facets of one cell alone, [F, D], their outside where ``Simplicial`` wants it."""
    dim = elements.shape[1] - 1
    # Facets opposite each corner of a cell of positive measure, seen from outside.
    sides = {2: ("12", "20", "01"), 3: ("123", "032", "013", "021")}[dim]
    facets = np.concatenate([elements[:, [int(corner) for corner in side]] for side in sides])
    _, first, counts = np.unique(np.sort(facets, 1), axis=0, return_index=True, return_counts=True)
    if (counts > 2).any():
        facet = facets[first[counts.argmax()]].tolist()
        raise ValueError(
            f"Mesh: cells: expected at most two cells at each {'edge' if dim == 2 else 'face'}, "
            f"got {counts.max()} at {facet}; remove those that lie on others"
        )
    if (counts == 1).sum() == 0:
        raise ValueError(
            "Mesh: cells: expected cells with a boundary, got all of them twice; leave one of each"
        )
    _check_sides(facets)
    return facets[np.sort(first[counts == 1])]


def _check_sides(facets: np.ndarray) -> None:
    """ValueError where two cells lie on the same side of a facet that they share."""
    order = np.argsort(facets, 1)
    odd = np.linalg.det(np.eye(facets.shape[1])[order]) < 0  # the permutation that sorts it
    seen = np.column_stack([np.sort(facets, 1), odd])
    _, first, counts = np.unique(seen, axis=0, return_index=True, return_counts=True)
    if (counts > 1).any():
        facet = facets[first[counts.argmax()]].tolist()
        raise ValueError(
            f"Mesh: cells: expected one cell on either side of a facet, got two on the same side "
            f"of {facet}, which overlap; remove one of them"
        )


def read_mesh(
    path: str | os.PathLike[str],
    *,
    names: str | Sequence[str] | None = None,
    name: str | None = None,
) -> Mesh | Polyhedron:
    """Reads a mesh of triangles or tetrahedra, in any format of ``meshio``: msh, vtk, stl...

    A mesh in a plane of constant z is one in two dimensions. Triangles in space without tetrahedra
    are the closed surface of a ``Polyhedron``. Physical groups of lines or triangles that have
    names, as gmsh writes them, are parts of the boundary.

    Args:
        path: the file.
        names: of the coordinates; x, y, z by default.
        name: of the whole boundary.

    Raises:
        ImportError: meshio is missing: pip install 'pyneural[mesh]'.
        FileNotFoundError: there is no such file.
        ValueError: other cells, as quadrilaterals, or a mesh that ``Mesh`` refuses.
    """
    try:
        import meshio
    except ImportError as error:
        raise ImportError(
            "read_mesh: expected meshio, but it is not installed; pip install 'pyneural[mesh]'"
        ) from error
    if not os.path.exists(path):
        raise FileNotFoundError(f"read_mesh: path: expected a file, got {os.fspath(path)!r}")
    mesh = meshio.read(path)
    used = {block.type for block in mesh.cells}
    dim = 3 if "tetra" in used else 2
    wanted = {"vertex", "line", "triangle", "tetra"}
    if not used & set(_CELLS.values()) or not used <= wanted:
        raise ValueError(
            f"read_mesh: {os.fspath(path)}: expected triangles or tetrahedra, got "
            f"{', '.join(sorted(used)) or 'no cells'}; mesh the domain with straight triangles or "
            "tetrahedra"
        )
    points = np.asarray(mesh.points, dtype=np.float64)
    cells = np.concatenate([b.data for b in mesh.cells if b.type == _CELLS[dim]]).astype(np.int64)
    parts = _physical_groups(mesh, _FACETS[dim])
    if dim == 2 and points.shape[1] == 3:
        corners = points[np.unique(cells)]
        if np.ptp(corners[:, 2]) > 1e-12 * np.ptp(corners, axis=0).max():
            return Polyhedron(points, cells, names="xyz" if names is None else names, name=name)
        points = points[:, :2]
    return Mesh(points, cells, names=names, parts=parts, name=name)


def _physical_groups(mesh: Any, facet: str) -> dict[str, np.ndarray]:
    """Named groups of facets, as gmsh writes them, [F, D] indices each."""
    dim = {"line": 1, "triangle": 2}[facet]
    tags = {int(tag): name for name, (tag, of) in mesh.field_data.items() if int(of) == dim}
    found: dict[str, list[np.ndarray]] = {}
    for block, numbers_of in zip(mesh.cells, mesh.cell_data.get("gmsh:physical", ()), strict=False):
        if block.type == facet:
            for tag, name in tags.items():
                if (numbers_of == tag).any():
                    found.setdefault(name, []).append(block.data[numbers_of == tag])
    return {name: np.concatenate(blocks).astype(np.int64) for name, blocks in found.items()}
