"""Triangles in space that cross each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_PAIRS = 1 << 20  # compared at once
_NEAR = 1e-10  # of the size of a surface: what is as near as that touches
_ROUNDING = 1e-14  # of the corners, which the normal of a thin triangle enlarges


def first_crossing(corners: np.ndarray, triangles: np.ndarray) -> tuple[int, int] | None:
    """Numbers of two triangles that cross or overlap, None where there are none.

    Triangles whose bounding boxes meet are compared: each is cut by the plane of the other, and
    they cross where both cuts, on the line that the planes have in common, share more than a point
    (Moeller, 1997); in one plane, where no edge has both on different sides. Neighbours share an
    edge and cross in one plane only, when they are folded on each other.

    Args:
        corners: [V, 3].
        triangles: their corners' numbers, [F, 3]; triangles with an area.

    >>> corners = np.array([(0, 0, 0), (2, 0, 0), (0, 2, 0), (.5, .5, -1), (.5, .5, 1), (3, 3, 0)])
    >>> first_crossing(corners, np.array([(0, 1, 2), (3, 4, 5)]))
    (0, 1)
    """
    points = corners[triangles] - corners.mean(0)  # [F, 3, 3]
    size = float(np.ptp(corners, axis=0).max())
    first, second = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    normals = np.cross(first, second)
    lengths = np.linalg.norm(normals, axis=1)
    edges = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    near = size * (_NEAR + _ROUNDING * edges / lengths)
    normals = normals / lengths[:, None]
    for i, j in _pairs(points.min(1), points.max(1), _NEAR * size):
        di = _heights(points[i], points[j, 0], normals[j], near[j])
        meet = _changes(di)
        i, j, di = i[meet], j[meet], di[meet]
        dj = _heights(points[j], points[i, 0], normals[i], near[i])
        meet = _changes(dj)
        i, j, di, dj = i[meet], j[meet], di[meet], dj[meet]
        flat = ~di.any(1) | ~dj.any(1)
        crossed = np.zeros(len(i), dtype=bool)
        crossed[flat] = _overlap(points[i[flat]], points[j[flat]], normals[i[flat]], _NEAR * size)
        shared = (triangles[i][:, :, None] == triangles[j][:, None]).sum((1, 2))
        cut = ~flat & (shared < 2)
        crossed[cut] = _cuts_overlap(
            points[i[cut]], points[j[cut]], di[cut], dj[cut],
            np.cross(normals[i[cut]], normals[j[cut]]), _NEAR * size,
        )  # fmt: skip
        if crossed.any():
            at = int(crossed.argmax())
            return int(i[at]), int(j[at])
    return None


def _pairs(
    low: np.ndarray, high: np.ndarray, near: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of boxes [F, 3] that meet, i < j, some at a time: along one axis by sorting."""
    counts = []
    for axis in range(3):
        begins = np.sort(low[:, axis])
        counts.append(np.searchsorted(begins, high[:, axis] + near, "right").sum())
    axis = int(np.argmin(counts))
    order = np.argsort(low[:, axis], kind="stable")
    low, high = low[order], high[order]
    places = np.arange(len(low))
    ends = np.searchsorted(low[:, axis], high[:, axis] + near, "right")
    running = np.cumsum(ends - places - 1)  # the ones that follow and begin before its end
    start = 0
    while start < len(low):
        before = running[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(running, before + _PAIRS, "right")))
        rows = places[start:stop]
        repeats = ends[rows] - rows - 1
        i = np.repeat(rows, repeats)
        j = i + 1 + np.arange(len(i)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        for other in range(3):
            if other != axis:
                meet = (low[i, other] <= high[j, other] + near) & (
                    low[j, other] <= high[i, other] + near
                )
                i, j = i[meet], j[meet]
        yield np.minimum(order[i], order[j]), np.maximum(order[i], order[j])
        start = stop


def _heights(
    points: np.ndarray, origin: np.ndarray, normal: np.ndarray, near: np.ndarray
) -> np.ndarray:
    """Heights of corners [P, 3, 3] above planes, [P, 3]; 0 for those that are near."""
    heights = np.einsum("pkd,pd->pk", points - origin[:, None], normal)
    return np.where(abs(heights) <= near[:, None], 0.0, heights)


def _changes(heights: np.ndarray) -> np.ndarray:
    """Whether a triangle meets a plane, by the heights of its corners [P, 3]."""
    return (heights.min(1) <= 0) & (heights.max(1) >= 0)


def _cuts_overlap(
    one: np.ndarray, other: np.ndarray, heights: np.ndarray, others: np.ndarray,
    along: np.ndarray, near: float,
) -> np.ndarray:  # fmt: skip
    """Whether the cuts of triangles by each other's planes share more than a point."""
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-300)
    low, high = _cut(np.einsum("pkd,pd->pk", one, along), heights)
    other_low, other_high = _cut(np.einsum("pkd,pd->pk", other, along), others)
    return np.minimum(high, other_high) - np.maximum(low, other_low) > near


def _cut(places: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the cut along a line, from the places of the corners along it, [P, 3]."""
    low, high = np.full(len(places), np.inf), np.full(len(places), -np.inf)
    for k in range(3):
        p, q = heights[:, k], heights[:, k - 1]
        share = np.divide(p, p - q, out=np.zeros_like(p), where=p * q < 0)
        place = places[:, k] + share * (places[:, k - 1] - places[:, k])
        meets = (p == 0) | (p * q < 0)
        low = np.where(meets, np.minimum(low, place), low)
        high = np.where(meets, np.maximum(high, place), high)
    return low, high


def _overlap(one: np.ndarray, other: np.ndarray, normal: np.ndarray, near: float) -> np.ndarray:
    """Whether triangles in one plane share an area: no edge has them on its two sides."""
    overlaps = np.ones(len(one), dtype=bool)
    for triangle in (one, other):
        for k in range(3):
            across = np.cross(normal, triangle[:, k] - triangle[:, k - 1])
            across /= np.linalg.norm(across, axis=1, keepdims=True)
            a, b = (np.einsum("pkd,pd->pk", each, across) for each in (one, other))
            overlaps &= np.minimum(a.max(1), b.max(1)) - np.maximum(a.min(1), b.min(1)) > near
    return overlaps
