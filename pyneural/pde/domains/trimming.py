"""Boundaries of combined shapes in the plane: curves are cut where they meet, and sorted out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from pyneural.pde.domains.curves import Arc, Curves, cross
from pyneural.pde.domains.patches import SAME, SIDE

Inside = Callable[[Tensor], Tensor]


def trimmed(first: Sequence[Curves], second: Sequence[Curves], inside: Inside) -> list[Curves]:
    """Boundary of a shape that is made of two: those parts of theirs that have it on one side only.

    Every segment and arc is cut where it meets any other. The middle of each piece tells whether
    it stays: the shape must be on one side and not on the other. The normals point away from it.
    Where boundaries of both coincide, the piece of the first is taken.

    Args:
        first: boundary of the first shape.
        second: that of the other.
        inside: tells for points [N, 2] whether they are in the shape that is made.

    Returns:
        curves, one for each set of labels.
    """
    every = [*first, *second]
    segments = np.concatenate([curves.segments for curves in every])
    arcs = [arc for curves in every for arc in curves.arcs]
    corners = [segments.reshape(-1, 2), *(_ends(arc) for arc in arcs)]
    boxes = [*corners[:1], *(a.center + s * np.abs(a.axes).sum(1) for a in arcs for s in (-1, 1))]
    extent = float(np.ptp(np.concatenate([np.atleast_2d(b) for b in boxes]), axis=0).max())
    ends = np.concatenate(corners)
    straight: dict[tuple[str, ...], list[np.ndarray]] = {}
    bent: dict[tuple[str, ...], list[Arc]] = {}
    for number, curves in enumerate(every):
        taken = first if number >= len(first) else ()
        pieces = [_cut_segment(s, segments, arcs, ends, extent) for s in curves.segments]
        parts = np.concatenate([np.empty((0, 2, 2)), *pieces])
        middles = parts.mean(1)
        along = parts[:, 1] - parts[:, 0]
        normals = np.stack([along[:, 1], -along[:, 0]], 1) / np.hypot(*along.T)[:, None]
        keep, turned = _sort_out(middles, normals, inside, extent, taken)
        parts[turned] = parts[turned][:, ::-1]
        straight.setdefault(curves.labels, []).extend(parts[keep])
        for arc in curves.arcs:
            cut = _cut_arc(arc, segments, arcs, ends, extent)
            angles = torch.tensor([(a.start + a.end) / 2 for a in cut], dtype=torch.float64)
            middles, normals = arc.at(angles).numpy(), arc.normals(angles).numpy()
            keep, turned = _sort_out(middles, normals, inside, extent, taken)
            bent.setdefault(curves.labels, []).extend(
                replace(part, outward=-part.outward if t else part.outward)
                for part, k, t in zip(cut, keep, turned, strict=True)
                if k
            )
    return [
        Curves(np.array(straight.get(labels, [])), bent.get(labels, []), labels)
        for labels in dict.fromkeys(curves.labels for curves in every)
        if straight.get(labels) or bent.get(labels)
    ]


def _ends(arc: Arc) -> np.ndarray:
    if arc.closed:
        return np.empty((0, 2))
    return arc.at(torch.tensor([arc.start, arc.end], dtype=torch.float64)).numpy()


def _sort_out(
    middles: np.ndarray,
    normals: np.ndarray,
    inside: Inside,
    extent: float,
    taken: Sequence[Curves],
) -> tuple[np.ndarray, np.ndarray]:
    """Which pieces stay, and on which the shape is on the side of the normal."""
    if not len(middles):
        return np.empty(0, bool), np.empty(0, bool)
    step = SIDE * extent * normals
    before, behind = (inside(torch.from_numpy(middles + s * step)).numpy() for s in (-1, 1))
    keep = before ^ behind
    for curves in taken:
        keep &= (curves.distance(torch.from_numpy(middles)) > SAME * extent).numpy()
    return keep, behind & keep


def _cut_segment(
    segment: np.ndarray,
    segments: np.ndarray,
    arcs: Sequence[Arc],
    ends: np.ndarray,
    extent: float,
) -> np.ndarray:
    """Pieces of a segment between the points where it meets others, [P, 2, 2]."""
    start, along = segment[0], segment[1] - segment[0]
    length = np.hypot(*along)
    places = [0.0, 1.0]
    # The other segments' lines, at q + r v: s = (q - start) x v / (along x v).
    q, v = segments[:, 0], segments[:, 1] - segments[:, 0]
    across = cross(along, v)
    with np.errstate(divide="ignore", invalid="ignore"):
        s, r = cross(q - start, v) / across, cross(q - start, along) / across
    slack = SAME * extent / np.hypot(*v.T)
    places += list(s[(across != 0) & (r > -slack) & (r < 1 + slack)])
    # Ends that are on it, where it runs along another.
    offset = ends - start
    near = np.abs(cross(along, offset)) / length < SAME * extent
    places += list(offset[near] @ along / length**2)
    for arc in arcs:  # |p + s d| = 1 where the arc is the unit circle
        inverse = np.linalg.inv(arc.axes)
        p, d = inverse @ (start - arc.center), inverse @ along
        a, b, c = d @ d, p @ d, p @ p - 1
        root = math.sqrt(max(b * b - a * c, 0.0))
        places += [(-b - root) / a, (-b + root) / a]
    inner = np.clip(np.unique([place for place in places if 0 <= place <= 1]), 0, 1)
    inner = _apart(inner, SAME * extent / length)
    points = start + inner[:, None] * along
    points[0], points[-1] = segment
    return np.stack([points[:-1], points[1:]], 1)


def _cut_arc(
    arc: Arc, segments: np.ndarray, arcs: Sequence[Arc], ends: np.ndarray, extent: float
) -> list[Arc]:
    """Pieces of an arc between the points where it meets others."""
    angles: list[float] = []
    # A line with normal n: n . (center + axes e(angle) - q) = 0.
    along = segments[:, 1] - segments[:, 0]
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    waves = normal @ arc.axes
    height = ((segments[:, 0] - arc.center) * normal).sum(1)
    size = np.hypot(*waves.T)
    for (cosine, sine), h, r in zip(waves, height, size, strict=True):
        if abs(h) <= r * (1 + 1e-12):
            middle, half = math.atan2(sine, cosine), math.acos(max(-1.0, min(1.0, h / r)))
            angles += [middle - half, middle + half]
    offset = (ends - arc.center) @ np.linalg.inv(arc.axes).T
    smallest = float(np.linalg.svd(arc.axes, compute_uv=False).min())
    near = np.abs(np.hypot(*offset.T) - 1) < SAME * extent / smallest
    angles += list(np.arctan2(offset[near, 1], offset[near, 0]))
    for other in arcs:
        if other is not arc:
            angles += _meeting(arc, other)
    if arc.closed:
        if not angles:
            return [arc]
        first = min(np.remainder(angles, 2 * math.pi))
        arc = replace(arc, start=float(first), end=float(first) + 2 * math.pi)
    turned = arc.start + np.remainder(np.array(angles) - arc.start, 2 * math.pi)
    inner = np.unique([arc.start, *(a for a in turned if a < arc.end), arc.end])
    inner = _apart(inner, SAME * extent / smallest)
    inner[0], inner[-1] = arc.start, arc.end
    return [replace(arc, start=float(a), end=float(b)) for a, b in pairwise(inner)]


def _meeting(arc: Arc, other: Arc) -> list[float]:
    """Angles of an arc where its ellipse meets another one: roots of a quartic in exp(i angle)."""
    inverse = np.linalg.inv(other.axes)
    p, m = inverse @ (arc.center - other.center), inverse @ arc.axes
    # |p + m e|^2 - 1 = sum_k c_k z^k for k = -2 ... 2, z = exp(i angle)
    g = m.T @ m
    two = (g[0, 0] - g[1, 1]) / 4 - 1j * g[0, 1] / 2
    one = p @ m[:, 0] - 1j * (p @ m[:, 1])
    zero = p @ p + (g[0, 0] + g[1, 1]) / 2 - 1
    coefficients = np.array([two, one, zero, np.conj(one), np.conj(two)])
    largest = np.abs(coefficients).max()
    if largest < 1e-12:  # the same ellipse
        return []
    coefficients[np.abs(coefficients) < 1e-14 * largest] = 0
    roots = np.roots(coefficients)
    return [float(np.angle(z)) for z in roots if abs(abs(z) - 1) < 1e-6]


def _apart(places: np.ndarray, least: float) -> np.ndarray:
    """Sorted numbers without those that follow another one too closely; the ends stay."""
    kept = [places[0]]
    for place in places[1:]:
        if place - kept[-1] > least:
            kept.append(place)
    if len(kept) == 1:
        return np.array([places[0], places[-1]])
    kept[-1] = places[-1]
    return np.array(kept)
