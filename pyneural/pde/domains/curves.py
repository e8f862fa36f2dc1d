"""Boundaries in the plane: segments and arcs of ellipses, drawn from by arc length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyneural.pde.domains.patches import PAIRS, Patch, root, spread, to_segments

_NODES = 2048  # of the table of arc lengths of an ellipse
_SEEDS = 64  # places on an arc where the search for the nearest point begins


@dataclass(frozen=True)
class Arc:
    """Points center + axes (cos a, sin a) for angles start <= a <= end, counter-clockwise.

    Args:
        center: [2].
        axes: the half axes as columns, [2, 2], of positive determinant.
        start: first angle in radians, of the circle that the axes make an ellipse of.
        end: last one, at most a turn later.
        outward: 1 where the outward normal points away from the center, else -1.
    """

    center: np.ndarray
    axes: np.ndarray
    start: float = 0.0
    end: float = 2 * math.pi
    outward: float = 1.0

    @property
    def closed(self) -> bool:
        """Whether it is all of the ellipse."""
        return self.end - self.start > 2 * math.pi - 1e-12

    @property
    def round(self) -> bool:
        """Whether it is part of a circle."""
        gram = self.axes.T @ self.axes
        return bool(abs(gram - gram[0, 0] * np.eye(2)).max() <= 1e-14 * gram[0, 0])

    def at(self, angle: Tensor) -> Tensor:
        """Points, [n] to [n, 2]."""
        circle = torch.stack([angle.cos(), angle.sin()], -1)
        return torch.from_numpy(self.center).to(angle) + circle @ self._axes(angle).T

    def speed(self, angle: Tensor) -> Tensor:
        """Arc length per angle, [n]."""
        turned = torch.stack([-angle.sin(), angle.cos()], -1)
        return torch.linalg.vector_norm(turned @ self._axes(angle).T, dim=-1)

    def normals(self, angle: Tensor) -> Tensor:
        """Outward unit normals, [n, 2]."""
        tangent = torch.stack([-angle.sin(), angle.cos()], -1) @ self._axes(angle).T
        away = torch.stack([tangent[..., 1], -tangent[..., 0]], -1)
        return self.outward * torch.nn.functional.normalize(away, dim=-1)

    def _axes(self, like: Tensor) -> Tensor:
        return torch.from_numpy(self.axes).to(like)

    def _table(self) -> tuple[Tensor, Tensor]:
        """Angles and the arc lengths up to them, by Gauss and Legendre's rule between."""
        angles = torch.linspace(self.start, self.end, _NODES + 1, dtype=torch.float64)
        nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(8))
        half = (self.end - self.start) / _NODES / 2
        inner = angles[:-1, None] + half * (1 + nodes)
        lengths = half * (self.speed(inner) * weights).sum(1)
        return angles, torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])

    @property
    def length(self) -> float:
        """Arc length."""
        if self.round:
            return float(np.hypot(*self.axes[:, 0])) * (self.end - self.start)
        return float(self._table()[1][-1])

    def angle_at(self, length: Tensor) -> Tensor:
        """Angles where the arc has these lengths, [n]."""
        if self.round:
            return self.start + length / float(np.hypot(*self.axes[:, 0]))
        angles, lengths = self._table()
        i = torch.searchsorted(lengths, length.contiguous(), right=True).clamp(1, _NODES) - 1
        width = angles[1] - angles[0]
        # Linear between nodes, whose arc lengths are exact to rounding.
        return angles[i] + width * (length - lengths[i]) / (lengths[i + 1] - lengths[i])

    def nearest(self, x: Tensor) -> Tensor:
        """Angles of the nearest points of the arc for points [N, 2], [N]."""
        if self.round:
            offset = x - torch.from_numpy(self.center).to(x)
            angle = torch.atan2(*reversed((offset @ self._axes(x)).unbind(1)))  # of R^T offset
        else:
            angle = self._nearest_on_ellipse(x)
        if self.closed:
            return angle
        start, turn = self.start, 2 * math.pi
        angle = start + torch.remainder(angle - start, turn)
        ends = x.new_tensor([self.start, self.end])
        gaps = torch.linalg.vector_norm(x[:, None] - self.at(ends), dim=-1)  # [N, 2]
        here = torch.linalg.vector_norm(x - self.at(angle), dim=-1)
        off = (angle > self.end) | (here > gaps.amin(1))
        return torch.where(off, ends[gaps.argmin(1)], angle)

    def _nearest_on_ellipse(self, x: Tensor) -> Tensor:
        """Angles of the nearest points, of which the ends of the arc are no more than seeds."""
        seeds = torch.linspace(self.start, self.end, _SEEDS + 1, dtype=x.dtype, device=x.device)
        with torch.no_grad():
            gaps = torch.linalg.vector_norm(x[:, None] - self.at(seeds), dim=-1)
            if self.closed:
                before, behind = gaps.roll(1, 1), gaps.roll(-1, 1)
                before[:, 0], behind[:, -1] = gaps[:, -2], gaps[:, 1]
            else:
                padded = torch.nn.functional.pad(gaps, (1, 1), value=torch.inf)
                before, behind = padded[:, :-2], padded[:, 2:]
            # An ellipse has two local minima at most, whose distances may be nearly the same.
            lowest = torch.where((gaps <= before) & (gaps <= behind), gaps, torch.inf)
            if self.closed:
                lowest[:, -1] = torch.inf  # it is the first one again
            found, width = seeds[lowest.topk(2, largest=False).indices], seeds[1] - seeds[0]
            low, high, place = found - width, found + width, x[:, None]
            for _ in range(40):  # halving where the distance still falls
                found = (low + high) / 2
                falls = self._slope(place, found) < 0
                low, high = torch.where(falls, found, low), torch.where(falls, high, found)
            if not self.closed:
                found = found.clamp(self.start, self.end)
            which = torch.linalg.vector_norm(place - self.at(found), dim=-1).argmin(1)
            angle = found.gather(1, which[:, None])[:, 0]
        for _ in range(2):  # Newton, which derivatives with respect to x go through
            angle = angle - self._slope(x, angle) / self._curvature(x, angle)
        return angle

    def _slope(self, x: Tensor, angle: Tensor) -> Tensor:
        """Half of the derivative of the squared distance by the angle."""
        tangent = torch.stack([-angle.sin(), angle.cos()], -1) @ self._axes(angle).T
        return ((self.at(angle) - x) * tangent).sum(-1)

    def _curvature(self, x: Tensor, angle: Tensor) -> Tensor:
        center = torch.from_numpy(self.center).to(x)
        radial = self.at(angle) - center
        second = self.speed(angle).square() - ((self.at(angle) - x) * radial).sum(-1)
        # At the end of the evolute it vanishes: no step is better than one by a division by 0.
        return torch.where(second.abs() < 1e-9, torch.inf, second)


class Curves(Patch):
    """Segments and arcs in the plane; u in [0, 1) goes along all of them by arc length.

    Args:
        segments: starts and ends, [S, 2, 2], the outside to the right of the way.
        arcs: any number.
        labels: names of the part.
    """

    dim, units = 2, 1

    def __init__(
        self, segments: np.ndarray, arcs: Sequence[Arc] = (), labels: tuple[str, ...] = ()
    ) -> None:
        self.segments, self.arcs, self.labels = segments.reshape(-1, 2, 2), tuple(arcs), labels
        along = self.segments[:, 1] - self.segments[:, 0]
        lengths = np.hypot(along[:, 0], along[:, 1])
        normal = np.stack([along[:, 1], -along[:, 0]], 1) / lengths[:, None]
        self.normal = torch.from_numpy(normal)
        self.ends = torch.from_numpy(self.segments)
        every = np.concatenate([lengths, [arc.length for arc in self.arcs]])
        self.running = torch.from_numpy(np.cumsum(every))
        self.size = float(self.running[-1])
        reach = [np.hypot(*arc.axes.T) for arc in self.arcs]
        around = [
            arc.center + s * r for arc, r in zip(self.arcs, reach, strict=True) for s in (-1, 1)
        ]
        corners = np.concatenate([self.segments.reshape(-1, 2), np.reshape(around, (-1, 2))])
        self.extent, self.largest = spread(torch.from_numpy(corners))

    def draw(self, unit: Tensor) -> tuple[Tensor, Tensor, None]:
        """Uniform by arc length."""
        length = unit[:, 0].contiguous() * self.size
        which = torch.searchsorted(self.running, length, right=True)
        which = which.clamp(max=len(self.running) - 1)
        length = length - torch.cat([length.new_zeros(1), self.running])[which]
        points, normals = torch.empty(len(unit), 2).double(), torch.empty(len(unit), 2).double()
        straight = which < len(self.segments)
        chosen = which[straight]
        normals[straight] = self.normal[chosen]
        along = torch.stack([-self.normal[:, 1], self.normal[:, 0]], 1)[chosen]
        points[straight] = self.ends[chosen, 0] + length[straight, None] * along
        for i, arc in enumerate(self.arcs, start=len(self.segments)):
            angle = arc.angle_at(length[which == i])
            points[which == i], normals[which == i] = arc.at(angle), arc.normals(angle)
        return points, normals, None

    def _squares(self, x: Tensor) -> Tensor:
        """Squared distances to each segment and arc, [N, S + A]."""
        straight = to_segments(x, *self.ends.to(x).unbind(1))
        bent = [(x - arc.at(arc.nearest(x))).square().sum(1) for arc in self.arcs]
        return torch.cat([straight, *(b[:, None] for b in bent)], 1)

    def _chunks(self, x: Tensor) -> Sequence[Tensor]:
        return x.split(max(PAIRS // (len(self.segments) + _SEEDS * len(self.arcs)), 1))

    def distance(self, x: Tensor) -> Tensor:
        """To the nearest of them."""
        return root(torch.cat([self._squares(chunk).amin(1) for chunk in self._chunks(x)]))

    def normals(self, x: Tensor) -> Tensor:
        """Those at the nearest point, of the first of several that are as near."""
        which = torch.cat([_first_nearest(self._squares(chunk)) for chunk in self._chunks(x)])
        straight = which < len(self.segments)
        normals = torch.zeros_like(x)
        normals[straight] = self.normal.to(x)[which[straight]]
        for i, arc in enumerate(self.arcs, start=len(self.segments)):
            normals[which == i] = arc.normals(arc.nearest(x[which == i]))
        return normals

    @property
    def area(self) -> float:
        """The integral of x . n / 2 over the curves: the area inside, for a whole boundary."""
        (ax, ay), (bx, by) = self.segments[:, 0].T, self.segments[:, 1].T
        total = float((ax * by - ay * bx).sum()) / 2
        for arc in self.arcs:
            first, last = ((math.cos(a), math.sin(a)) for a in (arc.start, arc.end))
            change = arc.axes @ (np.array(last) - np.array(first))
            around = np.linalg.det(arc.axes) * (arc.end - arc.start)
            swept = arc.center[0] * change[1] - arc.center[1] * change[0] + around
            total += arc.outward * float(swept) / 2
        return total


def _first_nearest(squares: Tensor) -> Tensor:
    """Index of the least distance of each row, the first of those that differ by rounding."""
    distances = root(squares)
    least = distances.amin(1, keepdim=True)
    slack = 8 * torch.finfo(squares.dtype).eps * distances.amax(1, keepdim=True)
    return (distances <= least + slack).to(torch.int8).argmax(1)


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of vectors in the plane, [..., 2] to [...]."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
