"""Pieces of boundaries: points on them by area, their outward normals, and the distance."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import Self

ON_BOUNDARY = 1e-6  # of the extent of a boundary: a given point as near as that is on it
ROUNDING = 8  # units in the last place of the coordinates by which a point may be off
SAME = 1e-10  # of the extent: what is as near as that is one point
SIDE = 1e-7  # of the extent: how far on either side of a boundary one looks
NEAR = 4 * ON_BOUNDARY  # the same around a given point, which may be off the boundary

# N points by F parts of a boundary are looked at in pieces of as many pairs.
PAIRS = 1 << 22


class Patch:
    """A piece of a boundary, of dimension D - 1 in D coordinates.

    Attributes:
        labels: names that a part of the boundary is chosen by.
        dim: number D of coordinates.
        units: how many numbers in [0, 1) a point is made of.
        size: length, area... that proposals are spread over; 1 for a point.
        share: of the proposals that are on the piece; 1 where none is rejected.
        extent: of the shape in its coordinates, which tolerances are relative to.
        largest: coordinate of the shape.
        measure: length, area... of the piece; None where it is not known exactly.
    """

    labels: tuple[str, ...] = ()
    dim: int
    units: int
    size: float
    share: float = 1.0
    extent: float
    largest: float

    @property
    def measure(self) -> float | None:
        """Length, area... of the piece, if known."""
        return self.size if self.share == 1 else None

    def draw(self, unit: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Unit points [n, units] to points and outward normals [n, D], and which to keep [n]."""
        raise NotImplementedError

    def distance(self, x: Tensor) -> Tensor:
        """Distance of points [N, D], [N]."""
        raise NotImplementedError

    def normals(self, x: Tensor) -> Tensor:
        """Outward unit normals at the nearest points of the piece, [N, D]."""
        raise NotImplementedError

    def covers(self, x: Tensor, distance: float) -> Tensor:
        """Which points are on the piece up to a distance, [N] bool."""
        return self.distance(x) <= distance

    def holds(self, x: Tensor, eps: float) -> Tensor:
        """Which points given in a dtype of this precision are on the piece, [N] bool."""
        return self.covers(x, tolerance(self.extent, self.largest, eps))

    def labelled(self, *labels: str) -> Self:
        """The piece with further names."""
        clone = copy.copy(self)
        clone.labels = tuple(dict.fromkeys((*self.labels, *labels)))
        return clone

    def relabelled(self, labels: Sequence[str]) -> Self:
        """The piece with these names alone."""
        clone = copy.copy(self)
        clone.labels = tuple(labels)
        return clone


def tolerance(extent: float, largest: float, eps: float) -> float:
    """How far points may be from a boundary and still be on it."""
    return max(ON_BOUNDARY * extent, ROUNDING * eps * largest)


def around(dim: int, count: int) -> Tensor:
    """Unit vectors in many directions, always the same, [count, dim]."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(vectors, dim=1)


class End(Patch):
    """An end of an interval: a point at a coordinate, with the normal +1 or -1."""

    dim, units, size = 1, 0, 1.0

    def __init__(
        self, at: float, outward: float, labels: tuple[str, ...], extent: float, largest: float
    ) -> None:
        self.at, self.outward, self.labels = at, outward, labels
        self.extent, self.largest = extent, largest

    def draw(self, unit: Tensor) -> tuple[Tensor, Tensor, None]:
        """The point, as often as there are rows."""
        points = unit.new_full((len(unit), 1), self.at)
        return points, torch.full_like(points, self.outward), None

    def distance(self, x: Tensor) -> Tensor:
        """|x - at|."""
        return (x[:, 0] - self.at).abs()

    def normals(self, x: Tensor) -> Tensor:
        """The one normal."""
        return torch.full_like(x, self.outward)


class Sphere(Patch):
    """Surface of a ball in three or more dimensions."""

    def __init__(self, center: Tensor, radius: float, labels: tuple[str, ...]) -> None:
        self.center, self.radius, self.labels = center, radius, labels
        self.dim = len(center)
        self.extent, self.largest = 2 * radius, float(center.abs().max()) + radius
        self.units = units_of_direction(self.dim)
        area = 2 * math.pi ** (self.dim / 2) / math.gamma(self.dim / 2)
        self.size = area * radius ** (self.dim - 1)

    def draw(self, unit: Tensor) -> tuple[Tensor, Tensor, None]:
        """Uniform by area."""
        normals = directions(unit, self.dim)
        return self.center + self.radius * normals, normals, None

    def distance(self, x: Tensor) -> Tensor:
        """| |x - c| - r |."""
        return (torch.linalg.vector_norm(x - self.center.to(x), dim=1) - self.radius).abs()

    def normals(self, x: Tensor) -> Tensor:
        """(x - c) / |x - c|."""
        return torch.nn.functional.normalize(x - self.center.to(x), dim=1)


def units_of_direction(dim: int) -> int:
    """How many numbers in [0, 1) ``directions`` needs."""
    return 2 if dim == 3 else dim


def directions(unit: Tensor, dim: int) -> Tensor:
    """Unit vectors [n, dim], uniform on the sphere, of numbers in [0, 1) [n, units].

    In three dimensions by Archimedes (z is uniform), in more by normal deviates.
    """
    if dim == 3:
        z, angle = 2 * unit[:, 0] - 1, 2 * math.pi * unit[:, 1]
        r = (1 - z * z).sqrt()
        return torch.stack([r * angle.cos(), r * angle.sin(), z], 1)
    inside = unit.clamp(2**-54, 1 - 2**-53)  # the inverse of the normal distribution is finite
    return torch.nn.functional.normalize(torch.special.ndtri(inside), dim=1)


class Triangles(Patch):
    """Triangles in space, [F, 3, 3], counter-clockwise seen from outside."""

    dim, units = 3, 2

    def __init__(self, corners: Tensor, labels: tuple[str, ...]) -> None:
        self.corners, self.labels = corners, labels
        a, b, c = corners.unbind(1)
        self.normal = torch.linalg.cross(b - a, c - a)
        areas = 0.5 * torch.linalg.vector_norm(self.normal, dim=1)
        self.normal = self.normal / (2 * areas[:, None])
        self.running = areas.cumsum(0)
        self.extent, self.largest = spread(corners.flatten(0, 1))
        self.size = float(self.running[-1])

    def draw(self, unit: Tensor) -> tuple[Tensor, Tensor, None]:
        """Uniform by area."""
        points, which = in_simplices(self.corners, self.running, unit)
        return points, self.normal[which], None

    def distance(self, x: Tensor) -> Tensor:
        """To the nearest triangle."""
        return root(self._nearest(x)[0])

    def normals(self, x: Tensor) -> Tensor:
        """Of the nearest triangle, the first of several."""
        return self.normal.to(x)[self._nearest(x)[1]]

    def _nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        size = max(PAIRS // len(self.corners), 1)
        parts = [to_triangles(chunk, self.corners.to(x)).min(1) for chunk in x.split(size)]
        return torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])


def spread(points: Tensor) -> tuple[float, float]:
    """Largest extent and largest coordinate of points [N, D]."""
    extent = (points.amax(0) - points.amin(0)).max()
    return float(extent), float(points.abs().max())


def to_segments(x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Squared distances of points [N, D] to segments between start and end [S, D], [N, S]."""
    along = end - start
    # One coordinate at a time, which needs a third of the time of arrays [N, S, D].
    columns = [(x[:, d : d + 1] - start[:, d], along[:, d]) for d in range(x.shape[1])]
    place = sum((offset * way for offset, way in columns), start=x.new_zeros(()))
    place = (place / (along * along).sum(1)).clamp(0, 1)
    squares = [(offset - place * way).square() for offset, way in columns]
    return sum(squares[1:], start=squares[0])


def to_triangles(x: Tensor, corners: Tensor) -> Tensor:
    """Squared distances of points [N, 3] to triangles [F, 3, 3], [N, F]."""
    a, b, c = corners.unbind(1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    height = x @ normal.T - (a * normal).sum(1)
    above = torch.ones_like(height, dtype=torch.bool)  # over the inside of the triangle
    edges = []
    for start, end in ((a, b), (b, c), (c, a)):
        inward = torch.linalg.cross(normal, end - start)
        above &= x @ inward.T >= (start * inward).sum(1)
        edges.append(to_segments(x, start, end))
    return torch.where(above, height.square(), torch.stack(edges).amin(0))


def root(squares: Tensor) -> Tensor:
    """Square roots whose gradient is 0 at 0."""
    return squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt()


def in_simplices(corners: Tensor, running: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Points uniform in segments, triangles or tetrahedra, and the simplex that each is in.

    The first of the k numbers in [0, 1) of a point chooses the simplex, and what is left of it
    is the first coordinate there; barycentric coordinates come from powers, so that equal volumes
    go to equal volumes.

    Args:
        corners: [F, k + 1, D].
        running: cumulated measures, [F].
        unit: [n, k].

    Returns:
        points [n, D] and indices [n].
    """
    scaled = unit[:, 0].contiguous() * running[-1]
    which = torch.searchsorted(running, scaled, right=True).clamp(max=len(running) - 1)
    below = torch.cat([running.new_zeros(1), running])[which]
    first = ((scaled - below) / (running[which] - below)).clamp(0, 1)
    numbers = [first, *unit[:, 1:].unbind(1)]
    corner = corners[which]
    k = len(numbers)
    points = corner[:, 0]
    scale = torch.ones_like(first)  # of the simplex that the remaining coordinates are in
    for i, number in enumerate(numbers):
        scale = scale * number ** (1 / (k - i))
        # The step from corner i towards corner i + 1, shrunk with all later ones.
        points = points + scale[:, None] * (corner[:, i + 1] - corner[:, i])
    return points, which
