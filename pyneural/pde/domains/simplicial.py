"""Domains bounded by segments in the plane or by triangles in space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pyneural.pde.coordinates import TIME
from pyneural.pde.domains.algebra import Shape
from pyneural.pde.domains.curves import Curves
from pyneural.pde.domains.patches import PAIRS, Triangles, in_simplices


class Simplicial(Shape):
    """A domain with a boundary of segments (in the plane) or triangles (in space).

    Args:
        names: of the two or three coordinates.
        facets: of the boundary, [F, 2, 2] with the outside to the right of the way from the first
            to the second corner, or [F, 3, 3], counter-clockwise seen from outside.
        labels: names of the part of the boundary that each facet belongs to.
        cells: triangles [C, 3, 2] or tetrahedra [C, 4, 3] that make up the interior; without them
            points are proposed in the bounding box.
    """

    def __init__(
        self,
        names: Sequence[str],
        facets: np.ndarray,
        labels: Sequence[tuple[str, ...]],
        cells: np.ndarray | None,
    ) -> None:
        self.names = self.spatial = tuple(names)
        self.facets = torch.from_numpy(facets)
        corners = facets.reshape(-1, self.dim)
        self.low, self.high = (torch.from_numpy(f(corners, axis=0)) for f in (np.min, np.max))
        made = [Curves(facets, (), ())] if self.dim == 2 else [Triangles(self.facets, ())]
        self.whole: Curves | Triangles = made[0]
        groups: dict[tuple[str, ...], list[int]] = {}
        for number, label in enumerate(labels):
            groups.setdefault(label, []).append(number)
        self.patches = tuple(
            Curves(facets[rows], (), label)
            if self.dim == 2
            else Triangles(self.facets[rows], label)
            for label, rows in groups.items()
        )
        self.units = self.dim
        # The divergence theorem, for the vector field x / D.
        cone = np.linalg.det(facets - corners[0])
        self.measure = float(cone.sum()) / (2 if self.dim == 2 else 6)
        self.cells = None
        if cells is None:
            self.bulk = float((self.high - self.low).prod())
            self.share = min(self.measure / self.bulk, 1 - 1e-9)
        else:
            sizes = abs(np.linalg.det(cells[:, 1:] - cells[:, :1])) / (2 if self.dim == 2 else 6)
            self.cells, self.running = torch.from_numpy(cells), torch.from_numpy(np.cumsum(sizes))
            self.bulk = self.measure = float(self.running[-1])

    def numbers(self) -> list[Tensor]:
        """Corners of the boundary and of the cells."""
        return [self.facets, *([] if self.cells is None else [self.cells])]

    def propose(self, unit: Tensor) -> tuple[Tensor, Tensor | None]:
        """Points of the cells, or of the bounding box and which are inside."""
        if self.cells is not None:
            return in_simplices(self.cells, self.running, unit)[0], None
        points = self.low + (self.high - self.low) * unit
        return points, self.inside(points)

    def inside(self, x: Tensor) -> Tensor:
        """By crossings of a ray in the plane, by solid angles in space."""
        test = _crossings if self.dim == 2 else winding
        facets = self.facets.to(x)
        size = max(PAIRS // len(facets), 1)
        return torch.cat([test(chunk, facets) for chunk in x.detach().split(size)])

    def signed_distance(self, x: Tensor) -> Tensor:
        """To the nearest facet."""
        distance = self.whole.distance(x)
        return torch.where(self.inside(x), -distance, distance)


def _crossings(x: Tensor, segments: Tensor) -> Tensor:
    """Whether a ray to the right from each point [N, 2] crosses an odd number of [S, 2, 2]."""
    (ax, ay), (bx, by) = segments[:, 0].T, segments[:, 1].T
    px, py = x[:, :1], x[:, 1:]
    spans = (ay > py) != (by > py)
    # To the left of the segment: a sign only, without a division by b_y - a_y.
    side = (bx - ax) * (py - ay) - (px - ax) * (by - ay)
    return (spans & ((side > 0) == (by > ay))).sum(1) % 2 == 1


def winding(x: Tensor, triangles: Tensor) -> Tensor:
    """Whether the solid angles of triangles [F, 3, 3] seen from each point sum to a full sphere.

    tan(omega / 2) by van Oosterom and Strackee (1983).
    """
    a, b, c = (triangles[:, i] - x[:, None] for i in range(3))
    la, lb, lc = (torch.linalg.vector_norm(v, dim=-1) for v in (a, b, c))
    volume = (a * torch.linalg.cross(b, c)).sum(-1)
    other = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    # The sum of omega / 2 is 2 pi inside and 0 outside.
    return torch.atan2(volume, other).sum(1) > torch.pi


def coordinates(where: str, names: str | Sequence[str], dims: tuple[int, ...]) -> tuple[str, ...]:
    """Names of coordinates as a tuple; ValueError unless they are different ones of space."""
    found = tuple(names)
    if len(found) not in dims or len(set(found)) < len(found) or TIME in found:
        counts = " or ".join(map(str, dims))
        raise ValueError(
            f"{where}: names: expected {counts} different coordinates of space, got "
            f"{', '.join(found) or 'none'}; write names='xy', and with_time(0, 1) for the time"
        )
    return found


def numbers(where: str, argument: str, values: object, columns: int | None) -> np.ndarray:
    """An array [N, columns] of finite numbers in float64; ValueError for anything else."""
    array = torch.as_tensor(values, dtype=torch.float64, device="cpu").numpy().copy()
    if array.ndim != 2 or len(array) == 0 or (columns and array.shape[1] != columns):
        raise ValueError(
            f"{where}: {argument}: expected [N, {columns or 'D'}], got {list(array.shape)}; give "
            "one row per point, one column per coordinate"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"{where}: {argument}: expected finite numbers, got nan or inf; remove those points"
        )
    return array
