"""Constructive geometry: proposals, boundary and signed distance of two shapes combined."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from pyneural.pde.domains.base import Domain
from pyneural.pde.domains.composed import Joint, Trimmed
from pyneural.pde.domains.curves import Curves
from pyneural.pde.domains.patches import NEAR, SAME, SIDE, End, Patch, around
from pyneural.pde.domains.trimming import trimmed

_DIRECTIONS = 16  # in which one looks around a point on boundaries of both shapes


class Pair(Protocol):
    """Two shapes combined."""

    operation: str
    first: Domain
    second: Domain
    low: Tensor
    high: Tensor
    patches: tuple[Patch, ...]

    def inside(self, x: Tensor) -> Tensor:
        """Which points are inside."""


def check_combined(operation: str, first: Domain, second: Domain) -> None:
    """ValueError unless two domains have the same coordinates, times and parameters."""
    for domain in (first, second):
        if domain.limit is not None:
            raise ValueError(
                f"Domain: {operation}: expected shapes, got {domain}, which knows its own points "
                "alone; choose among these"
            )
    if first.names != second.names:
        raise ValueError(
            f"Domain: {operation}: expected two shapes with the same coordinates, got "
            f"{', '.join(first.names)} of {first} and {', '.join(second.names)} of {second}; "
            "combine shapes in space, and call with_time or with_parameters on the result"
        )
    for name, *bounds in zip(
        first.names,
        *(part.tolist() for d in (first, second) for part in (d.low, d.high)),
        strict=True,
    ):
        roles = [name in d.spatial for d in (first, second)]
        if not all(roles) and (any(roles) or bounds[:2] != bounds[2:]):
            raise ValueError(
                f"Domain: {operation}: {name}: expected the same time and parameters in both, got "
                f"{tuple(bounds[:2])} and {tuple(bounds[2:])}; combine shapes in space, and call "
                "with_time or with_parameters on the result"
            )


def box_of(operation: str, first: Domain, second: Domain) -> tuple[Tensor, Tensor]:
    """Low and high corner of a box around the result."""
    if operation == "-":
        return first.low, first.high
    if operation == "|":
        return torch.minimum(first.low, second.low), torch.maximum(first.high, second.high)
    low, high = torch.maximum(first.low, second.low), torch.minimum(first.high, second.high)
    if bool((low >= high).any()):
        raise ValueError(
            f"Domain: &: expected shapes that overlap, got {first} and {second}; "
            "check their places and sizes"
        )
    return low, high


def propose_of(pair: Pair, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Proposals: from the first shape of a difference, the smaller of an intersection, or both."""
    first, second = pair.first, pair.second
    if pair.operation != "|":
        swap = pair.operation == "&" and second.bulk < first.bulk
        source, other = (second, first) if swap else (first, second)
        points, keep = source.propose(unit[:, : source.units])
        good = other.inside(points) if pair.operation == "&" else ~other.inside(points)
        return points, good if keep is None else good & keep
    # The first number chooses the shape, and what is left of it is not needed.
    of_first = unit[:, 0] * (first.bulk + second.bulk) < first.bulk
    points = torch.empty(len(unit), len(pair.low), dtype=torch.float64)
    good = torch.ones(len(unit), dtype=torch.bool)
    for shape, rows in ((first, of_first), (second, ~of_first)):
        points[rows], keep = shape.propose(unit[rows, 1 : 1 + shape.units])
        if keep is not None:
            good[rows] = keep
    good[~of_first] &= ~first.inside(points[~of_first])
    return points, good


def boundary_of(pair: Pair) -> tuple[Patch, ...]:
    """Pieces of the boundary of the result, cut and turned outwards."""
    first, second = list(pair.first.patches), list(pair.second.patches)
    if pair.operation == "-":
        sides = {f"{name}_{side}" for name in pair.second.names for side in ("low", "high")}
        second = [p.relabelled([n for n in p.labels if n not in sides]) for p in second]
    extent = float((pair.high - pair.low).max())
    if len(pair.low) == 1:
        return _ends_of(pair, first, second, extent)
    if len(pair.low) == 2:
        curves = [[as_curves(patch) for patch in patches] for patches in (first, second)]
        return tuple(trimmed(curves[0], curves[1], pair.inside))
    covered = partial(_covered, tuple(first), SAME * extent)
    cut = [Trimmed(p, pair.inside, extent, None) for p in first]
    cut += [Trimmed(p, pair.inside, extent, covered) for p in second]
    return tuple(patch for patch in cut if patch.share > 0)


def _covered(patches: Sequence[Patch], distance: float, x: Tensor) -> Tensor:
    """Which points are on some of the pieces."""
    return torch.stack([patch.covers(x, distance) for patch in patches]).any(0)


def _ends_of(
    pair: Pair, first: list[Patch], second: list[Patch], extent: float
) -> tuple[Patch, ...]:
    found: list[End] = []
    for patch in (*first, *second):
        at, step = float(patch.draw(torch.empty(1, 0).double())[0]), SIDE * extent
        before, behind = pair.inside(torch.tensor([[at - step], [at + step]]).double()).tolist()
        if before != behind and all(abs(end.at - at) > SAME * extent for end in found):
            outward = 1.0 if before else -1.0
            found.append(End(at, outward, patch.labels, extent, patch.largest))
    return tuple(found)


def as_curves(patch: Patch) -> Curves:
    """A piece of a boundary in the plane as segments and arcs."""
    if isinstance(patch, Curves):
        return patch
    if not isinstance(patch, Joint):
        raise TypeError(f"expected a piece of a boundary in the plane, got {type(patch).__name__}")
    # An end in one coordinate times intervals in the other.
    column, other = patch.index, patch.factors[1 - patch.index]
    at = patch.patch.draw(torch.empty(1, 0).double())
    ends = sorted(float(p.draw(torch.empty(1, 0).double())[0]) for p in other.patches)
    segments = torch.empty(len(ends) // 2, 2, 2).double()
    segments[:, :, column] = float(at[0])
    segments[:, :, 1 - column] = torch.tensor(ends).double().view(-1, 2)
    # The outside is to the right of the way from the first end to the second.
    if (float(at[1]) > 0) == (column == 1):
        segments = segments.flip(1)
    return Curves(segments.numpy(), (), patch.labels)


def measure_of(pair: Pair) -> float | None:
    """Length or area of the result from its boundary; None in three dimensions and more."""
    if len(pair.low) == 1:
        return sum(p.at * p.outward for p in pair.patches if isinstance(p, End))
    if len(pair.low) == 2:
        return sum(p.area for p in pair.patches if isinstance(p, Curves))
    return None


def signed_distance_of(pair: Pair, x: Tensor) -> Tensor:
    """Distance to the cut boundary on the line and in the plane, else that of min and max."""
    a, b = pair.first.signed_distance(x), pair.second.signed_distance(x)
    bound = {
        "|": torch.minimum(a, b), "-": torch.maximum(a, -b), "&": torch.maximum(a, b)
    }[pair.operation]  # fmt: skip
    near = NEAR * float((pair.high - pair.low).max())
    # On boundaries of both, as an interface inside a union, only the neighbourhood tells.
    unclear = bound.detach().abs() <= 8 * torch.finfo(x.dtype).eps * near / NEAR
    outside = bound > 0
    if bool(unclear.any()):
        places = x[unclear].detach().to("cpu", torch.float64)[:, None]
        neighbours = (places + near * around(x.shape[1], _DIRECTIONS)).flatten(0, 1)
        outside[unclear] = ~pair.inside(neighbours).view(len(places), -1).any(1).to(x.device)
    if len(pair.low) > 2:
        return torch.where(unclear & outside, near, bound)
    distance = torch.stack([patch.distance(x) for patch in pair.patches]).amin(0)
    return torch.where(outside, distance, -distance)
