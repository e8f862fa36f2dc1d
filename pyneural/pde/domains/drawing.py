"""How points are drawn: exact counts from regions and from boundaries, rounded to a dtype."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TypedDict

import torch
from torch import Tensor

from pyneural.pde.domains.patches import Patch
from pyneural.pde.sampling import unit_points

Propose = Callable[[Tensor], tuple[Tensor, Tensor | None]]

_PROBES = 1 << 13  # points that estimate the share of proposals that are kept
_MORE_PROBES = 1 << 16  # where none of those was
_CHUNK = 1 << 20  # proposals at once


class Drawing(TypedDict, total=False):
    """How points are drawn: keywords of the methods that draw them."""

    sampling: str
    generator: torch.Generator | None
    dtype: torch.dtype | None
    device: torch.device | str | None


def kept_share(propose: Propose, units: int) -> float:
    """Estimated share of proposals that are kept; 1.0 exactly where all are, 0.0 where none is.

    >>> kept_share(lambda unit: (unit, unit[:, 0] < 0.25), 1)
    0.25
    """
    engine = torch.quasirandom.SobolEngine(max(units, 1), scramble=True, seed=0)
    for count in (_PROBES, _MORE_PROBES):
        _, keep = propose(engine.draw(count, dtype=torch.float64)[:, :units])
        if keep is None:
            return 1.0
        if bool(keep.any()):
            return min(int(keep.sum()) / count, 1 - 1e-9)  # 1 means that nothing is ever rejected
    return 0.0


def draw_interior(
    propose: Propose,
    units: int,
    share: float,
    n: int,
    sampling: str,
    generator: torch.Generator | None,
) -> Tensor:
    """Exactly n proposals that are kept, [n, D] in float64.

    Proposals are as good as ``unit_points``; of those that are kept the first n are taken.
    """
    if share == 1:
        return propose(unit_points(n, units, sampling, generator=generator))[0]
    parts, missing = [], n
    while missing > 0:
        count = min(math.ceil(1.1 * missing / share) + 16, _CHUNK)
        points, keep = propose(unit_points(count, units, sampling, generator=generator))
        parts.append(points[keep][:missing])
        missing -= len(parts[-1])
    return torch.cat(parts)


def shares_of(n: int, weights: Sequence[float], offset: float = 0.5) -> list[int]:
    """Counts that sum to n, each within one of n weight / sum, by rounding the running sum.

    >>> shares_of(10, [1.0, 1.0, 2.0])
    [3, 2, 5]
    """
    running = torch.tensor(weights, dtype=torch.float64).cumsum(0)
    edges = (n * running / running[-1] + offset).floor().clamp(0, n).long()
    edges[-1] = n
    return torch.diff(edges, prepend=edges.new_zeros(1)).tolist()


def draw_patches(
    patches: Sequence[Patch],
    n: int,
    sampling: str,
    generator: torch.Generator | None,
    evenly: bool = False,
) -> tuple[Tensor, Tensor]:
    """Exactly n points on patches, [n, D] in float64, and the outward normals there, [n, D].

    Each patch gets its share of n by its size, up to rounding, or as many as the others. Where
    patches are trimmed by rejection, their share is exact on average: proposals have shares, and
    all are kept that are on the trimmed patches, before n of them are chosen.
    """
    weights = [patch.size for patch in patches]
    if all(patch.share == 1 for patch in patches):
        found = []
        k = len(patches)
        even = [(n + k - 1 - i) // k for i in range(k)]
        for patch, count in zip(patches, even if evenly else shares_of(n, weights), strict=True):
            if count:
                unit = unit_points(count, patch.units, sampling, generator=generator)
                found.append(patch.draw(unit)[:2])
        points, normals = zip(*found, strict=True)
        return torch.cat(points), torch.cat(normals)
    kept = sum(w * p.share for w, p in zip(weights, patches, strict=True)) / sum(weights)
    pool: list[tuple[Tensor, Tensor]] = []
    while sum(len(points) for points, _ in pool) < n:
        proposals = min(math.ceil(1.1 * n / kept) + 16, _CHUNK)
        offset = float(unit_points(1, 1, generator=generator))
        for patch, count in zip(patches, shares_of(proposals, weights, offset), strict=True):
            if count:
                unit = unit_points(count, patch.units, sampling, generator=generator)
                points, normals, keep = patch.draw(unit)
                chosen = slice(None) if keep is None else keep
                pool.append((points[chosen], normals[chosen]))
    points, normals = (torch.cat(part) for part in zip(*pool, strict=True))
    order = torch.randperm(len(points), generator=generator)[:n].sort().values
    return points[order], normals[order]


def rounded(
    points: Tensor,
    names: Sequence[str],
    counts: Sequence[int],
    dtype: torch.dtype | None,
    device: torch.device | str | None,
    bounds: tuple[Tensor, Tensor],
    kind: str,
) -> Tensor:
    """Points in another dtype; warns where it has too few numbers between the bounds.

    Args:
        points: [n, D] in float64.
        names: of the coordinates.
        counts: how many different numbers a coordinate should have.
        dtype: of the points; None is torch's default one.
        device: of the points.
        bounds: (low [D], high [D]).
        kind: the name that the warning begins with.
    """
    dtype = dtype or torch.get_default_dtype()
    lows, highs = bounds
    for name, low, high, count in zip(names, lows.tolist(), highs.tolist(), counts, strict=True):
        _, exponent = math.frexp(max(abs(low), abs(high)))
        spacing = math.ldexp(torch.finfo(dtype).eps, exponent - 1)
        numbers = int((high - low) / spacing) + 1
        if count > numbers:
            warnings.warn(
                f"{kind}: {name}: {dtype} has {numbers:,} different numbers in ({low}, {high}) "
                f"for {count:,} points, some of which coincide; draw them with "
                f"dtype=torch.float64, or count {name} from 0, as (0, {high - low:g})",
                stacklevel=4,
            )
    return points.to(device=device, dtype=dtype)
