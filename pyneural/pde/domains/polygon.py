"""Polygons, convex or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyneural.pde.domains.curves import cross
from pyneural.pde.domains.simplicial import Simplicial, coordinates, numbers

_TOUCHING = 1e-12  # of the size of a polygon: corners and edges as near as that touch


class Polygon(Simplicial):
    """A polygon in the plane, given by its corners in order, either way round.

    A polygon with a hole is a difference of two.

    Args:
        vertices: corners, [N, 2]; the first may stand at the end again.
        names: of the two coordinates.
        name: of the boundary, as ``part=`` takes it.
        edges: names of the edges, from the first corner to the second and so on, one for each;
            None for an edge without a name.

    Raises:
        ValueError: fewer than three corners, corners that coincide, edges that cross or touch, no
            area, numbers that are not finite.

    >>> import torch
    >>> shape = Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)])
    >>> shape.measure, shape.boundary_measure()
    (3.0, 8.0)
    >>> shape.contains(torch.tensor([[0.5, 1.5], [1.5, 1.5]])).tolist()
    [True, False]
    """

    kind = "Polygon"

    def __init__(
        self,
        vertices: Any,
        *,
        names: str | Sequence[str] = "xy",
        name: str | None = None,
        edges: Sequence[str | None] | None = None,
    ) -> None:
        named = coordinates("Polygon", names, (2,))
        corners = numbers("Polygon", "vertices", vertices, 2)
        if len(corners) > 1 and (corners[0] == corners[-1]).all():
            corners = corners[:-1]
        _check(corners)
        own = [] if name is None else [name]
        listed = [None] * len(corners) if edges is None else list(edges)
        if len(listed) != len(corners):
            raise ValueError(
                f"Polygon: edges: expected {len(corners)} names, one for each edge, got "
                f"{len(listed)}; give None for an edge without a name"
            )
        labels = [tuple(own + ([] if edge is None else [edge])) for edge in listed]
        facets = np.stack([corners, np.roll(corners, -1, 0)], 1)
        if _area(corners) < 0:
            facets, corners = facets[:, ::-1].copy(), corners[::-1]
        self.corners = corners
        super().__init__(named, facets, labels, corners[triangulate(corners)])

    def __repr__(self) -> str:
        if len(self.corners) > 8:
            return f"Polygon({len(self.corners)} corners)"
        return f"Polygon({[tuple(corner) for corner in self.corners.tolist()]})"


def _area(corners: np.ndarray) -> float:
    (x, y), (u, v) = (corners - corners[0]).T, np.roll(corners - corners[0], -1, 0).T
    return float((x * v - u * y).sum()) / 2


def _check(corners: np.ndarray) -> None:
    """ValueError unless the corners are those of a simple polygon."""
    where, n = "Polygon: vertices", len(corners)
    if n < 3:
        raise ValueError(f"{where}: expected at least 3 corners, got {n}; give more")
    ends = np.roll(corners, -1, 0)
    size = float(np.ptp(corners, axis=0).max())
    near = np.hypot(*(ends - corners).T) <= _TOUCHING * size
    if near.any():
        i = int(near.argmax())
        raise ValueError(
            f"{where}: expected corners that differ from the next one, got "
            f"{tuple(corners[i].tolist())} twice; remove one of them"
        )
    if abs(_area(corners)) <= _TOUCHING * size**2:
        raise ValueError(
            f"{where}: expected a polygon with an area, got one whose area is {_area(corners):g}; "
            "correct the corners"
        )
    low, high = np.minimum(corners, ends), np.maximum(corners, ends)
    low, high = low - _TOUCHING * size, high + _TOUCHING * size
    for i in range(n):
        # Each edge against those after it whose boxes meet its own; its neighbour touches it.
        meet = ((low[i + 1 :] <= high[i]) & (high[i + 1 :] >= low[i])).all(1)
        j = i + 1 + np.flatnonzero(meet)
        gaps = _gaps(corners[i], ends[i], corners[j], ends[j])
        back = _folds(corners[i], ends[i], ends[(i + 1) % n])
        touching = gaps <= _TOUCHING * size
        touching[(j == i + 1) | ((i == 0) & (j == n - 1))] = False
        if back or touching.any():
            other = (i + 1) % n if back else int(j[touching.argmax()])
            raise ValueError(
                f"{where}: expected edges that do not meet, got edge {i} from "
                f"{tuple(corners[i].tolist())} and edge {other} from "
                f"{tuple(corners[other].tolist())}, which cross or touch; give the corners in "
                "order, and write two polygons for two parts"
            )


def _folds(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
    """Whether the edge b c runs back along a b."""
    u, v = b - a, c - b
    straight = abs(u[0] * v[1] - u[1] * v[0]) <= _TOUCHING * np.hypot(*u) * np.hypot(*v)
    return bool(straight and u @ v < 0)


def _gaps(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Distances of the segment a b to segments c d, [S]."""

    def distance(p: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        along = end - start
        place = (((p - start) * along).sum(-1) / (along * along).sum(-1)).clip(0, 1)
        return np.hypot(*np.moveaxis(p - start - place[..., None] * along, -1, 0))

    ends = [distance(a, c, d), distance(b, c, d), distance(c, a, b), distance(d, a, b)]
    crossing = (cross(b - a, c - a) * cross(b - a, d - a) < 0) & (
        cross(d - c, a - c) * cross(d - c, b - c) < 0
    )
    return np.where(crossing, 0.0, np.minimum.reduce(ends))


def triangulate(corners: np.ndarray) -> np.ndarray:
    """Triangles of a simple polygon, counter-clockwise: indices of corners, [T, 3].

    Ears are cut off: convex corners whose triangles have no other corner in them (Meisters, 1975).

    >>> triangulate(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])).tolist()
    [[3, 0, 1], [1, 2, 3]]
    """
    left, found, position, failed = list(range(len(corners))), [], 0, 0
    size = float(np.ptp(corners, axis=0).max())
    before, behind = np.roll(corners, 1, 0), np.roll(corners, -1, 0)
    turns = cross(corners - before, behind - corners)
    hollow = np.flatnonzero(turns <= _TOUCHING * size**2)  # only these can be in an ear
    while len(left) > 3:
        k = position % len(left)
        ear = [left[k - 1], left[k], left[(k + 1) % len(left)]]
        a, b, c = corners[ear]
        turn = _turn(a, b, c[None])[0]
        flat = abs(turn) <= _TOUCHING * size**2
        others = corners[hollow[~np.isin(hollow, ear)]]
        within = (
            (_turn(a, b, others) >= 0) & (_turn(b, c, others) >= 0) & (_turn(c, a, others) >= 0)
        )
        if flat or (turn > 0 and not within.any()):
            if not flat:
                found.append(ear)
            del left[k]
            hollow = hollow[hollow != ear[1]]
            position, failed = k + 1, 0  # not its neighbour, so that no fan of thin ears is made
        else:
            position, failed = k + 1, failed + 1
            if failed > len(left):
                raise ValueError(
                    "Polygon: vertices: expected a polygon that can be divided into triangles, got "
                    "one whose edges nearly touch; move those corners apart"
                )
    return np.array([*found, left])


def _turn(a: np.ndarray, b: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Twice the area of the triangles a, b, point: positive to the left of a b, [N]."""
    return cross(b - a, points - a)
