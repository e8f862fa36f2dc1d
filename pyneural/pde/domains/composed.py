"""Pieces of boundaries that are made of others: of products, and cut by other shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pyneural.pde.domains.base import Domain
from pyneural.pde.domains.drawing import kept_share
from pyneural.pde.domains.patches import NEAR, SIDE, Patch, around, spread, tolerance

_DIRECTIONS = 64  # in which one looks around a given point


class Joint(Patch):
    """A piece of the boundary of one factor of a product, times the inside of the others.

    Args:
        factors: the domains of the product.
        index: of the factor that has the piece.
        patch: the piece.
    """

    def __init__(self, factors: Sequence[Domain], index: int, patch: Patch) -> None:
        self.factors, self.index, self.patch = tuple(factors), index, patch
        self.labels = patch.labels
        self.dim = sum(factor.dim for factor in factors)
        parts: list[Domain | Patch] = [patch if i == index else f for i, f in enumerate(factors)]
        self.unit_counts = [part.units for part in parts]
        self.units = sum(self.unit_counts)
        self.share = math.prod(part.share for part in parts)
        self.extent, self.largest = patch.extent, patch.largest
        self.size = patch.size * math.prod(f.bulk for i, f in enumerate(factors) if i != index)

    def draw(self, unit: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Each factor's point, side by side."""
        columns, normals, keep = [], [], None
        for i, (factor, numbers) in enumerate(
            zip(self.factors, unit.split(self.unit_counts, 1), strict=True)
        ):
            if i == self.index:
                x, normal, good = self.patch.draw(numbers)
            else:
                x, good = factor.propose(numbers)
                normal = torch.zeros_like(x)
            columns.append(x)
            normals.append(normal)
            if good is not None:
                keep = good if keep is None else keep & good
        return torch.cat(columns, 1), torch.cat(normals, 1), keep

    @property
    def measure(self) -> float | None:
        """Product of all measures, if they are known."""
        others = [f.measure for i, f in enumerate(self.factors) if i != self.index]
        known = [size for size in (self.patch.measure, *others) if size is not None]
        return math.prod(known) if len(known) == len(self.factors) else None

    def _split(self, x: Tensor) -> list[Tensor]:
        return list(x.split([factor.dim for factor in self.factors], 1))

    def distance(self, x: Tensor) -> Tensor:
        """By Pythagoras, over the coordinates in space."""
        parts = self._split(x)
        squares = self.patch.distance(parts[self.index]).square()
        for i, (factor, part) in enumerate(zip(self.factors, parts, strict=True)):
            if i != self.index and factor.spatial:
                squares = squares + factor.signed_distance(part).clamp_min(0).square()
        return squares.sqrt()

    def normals(self, x: Tensor) -> Tensor:
        """Those of the piece, 0 in the other coordinates."""
        parts = [torch.zeros_like(part) for part in self._split(x)]
        parts[self.index] = self.patch.normals(self._split(x)[self.index])
        return torch.cat(parts, 1)

    def covers(self, x: Tensor, distance: float) -> Tensor:
        """On the piece in its own coordinates, inside in the others."""
        parts = self._split(x)
        on = self.patch.covers(parts[self.index], distance)
        return on & self._beside(parts, [distance] * len(parts))

    def holds(self, x: Tensor, eps: float) -> Tensor:
        """As ``covers``, with the tolerance of each factor."""
        parts = self._split(x)
        slack = [tolerance(*spread(torch.stack([f.low, f.high])), eps) for f in self.factors]
        return self.patch.holds(parts[self.index], eps) & self._beside(parts, slack)

    def _beside(self, parts: Sequence[Tensor], slack: Sequence[float]) -> Tensor:
        """Inside in the other coordinates in space."""
        good = torch.ones(len(parts[0]), dtype=torch.bool, device=parts[0].device)
        for i, factor in enumerate(self.factors):
            if i != self.index and factor.spatial:
                good &= factor.signed_distance(parts[i]) <= slack[i]
        return good


class Trimmed(Patch):
    """What is left of a piece of a shape where that shape is combined with another.

    A point of it stays if it has the combined shape on one side and not on the other, so that
    interfaces inside a union, and faces that two shapes share, come out right.

    Args:
        patch: the piece.
        inside: tells for points [N, D] whether they are in the combined shape.
        size: of the shape.
        covered: tells which points other pieces have already; None if none has.
    """

    def __init__(
        self,
        patch: Patch,
        inside: Callable[[Tensor], Tensor],
        size: float,
        covered: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.patch, self.inside, self.covered = patch, inside, covered
        self.extent, self.largest = size, patch.largest
        self.labels, self.dim, self.units = patch.labels, patch.dim, patch.units
        self.size = patch.size
        # 1 where all of the piece is left, as far as the probes see.
        self.share = kept_share(lambda unit: self.draw(unit)[::2], self.units)

    def draw(self, unit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points of the piece, those off the combined boundary not to be kept."""
        x, normals, keep = self.patch.draw(unit)
        step = SIDE * self.extent * normals
        before, behind = self.inside(x - step), self.inside(x + step)
        good = before ^ behind
        if self.covered is not None:
            good[good.clone()] = ~self.covered(x[good])  # few are left, which saves time
        normals = torch.where(behind[:, None], -normals, normals)
        return x, normals, good if keep is None else good & keep

    def distance(self, x: Tensor) -> Tensor:
        """To the whole piece: a lower bound."""
        return self.patch.distance(x)

    def normals(self, x: Tensor) -> Tensor:
        """Those of the piece, turned out of the combined shape."""
        normals = self.patch.normals(x)
        step = NEAR * self.extent * normals
        turned = self.inside(x + step) & ~self.inside(x - step)
        return torch.where(turned[:, None], -normals, normals)

    def covers(self, x: Tensor, distance: float) -> Tensor:
        """On the piece, the combined shape on one side alone."""
        on = self.patch.covers(x, distance)
        step = SIDE * self.extent * self.patch.normals(x[on])
        on[on.clone()] = self.inside(x[on] - step) ^ self.inside(x[on] + step)
        return on

    def holds(self, x: Tensor, eps: float) -> Tensor:
        """On the piece, with the combined shape somewhere near, and something else, too."""
        on = self.patch.holds(x, eps)
        chosen, reach = x[on], 4 * tolerance(self.extent, self.largest, eps)
        if len(chosen):
            normals = self.patch.normals(chosen)
            across = chosen[:, None] + reach * torch.stack([normals, -normals], 1)
            near = torch.cat([chosen[:, None] + reach * around(self.dim, _DIRECTIONS), across], 1)
            sides = self.inside(near.flatten(0, 1)).view(len(chosen), -1)
            on[on.clone()] = sides.any(1) & ~sides.all(1)
        return on
