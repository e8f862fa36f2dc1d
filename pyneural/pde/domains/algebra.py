"""Domains made of others: products, unions, differences and intersections, to any depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.coordinates import TIME
from pyneural.pde.domains.base import Domain
from pyneural.pde.domains.composed import Joint
from pyneural.pde.domains.constructive import (
    boundary_of,
    box_of,
    check_combined,
    measure_of,
    propose_of,
    signed_distance_of,
)
from pyneural.pde.domains.drawing import kept_share
from pyneural.pde.domains.patches import End


class Shape(Domain):
    """A domain that can be combined with others.

    ``a | b``, ``a - b`` and ``a & b`` are union, difference and intersection of shapes with the
    same coordinates, ``a * b`` is the product of domains with different ones, as time x disk or
    disk x interval, a cylinder.
    """

    def __or__(self, other: Domain) -> Domain:
        return _combined("|", self, other)

    def __sub__(self, other: Domain) -> Domain:
        return _combined("-", self, other)

    def __and__(self, other: Domain) -> Domain:
        return _combined("&", self, other)

    def __mul__(self, other: Domain) -> Domain:
        if not isinstance(other, Domain):
            return NotImplemented
        return Product([self, other])

    def with_time(self, first: float, last: float) -> Domain:
        """The domain at all times between two: t is the first coordinate.

        >>> from pyneural.pde import Disk
        >>> Disk(x=0, y=0, radius=1).with_time(0, 2)
        Box(t=(0.0, 2.0)) * Disk(x=0.0, y=0.0, radius=1.0)
        """
        if self.has_time:
            raise ValueError(
                f"{self.kind}.with_time: expected a domain without t, got {self}; it has one"
            )
        return Product([axis(TIME, (first, last), "time", f"{self.kind}.with_time"), self])

    def with_parameters(self, **ranges: Sequence[float]) -> Domain:
        """The domain with parameters of the problem as further coordinates, (low, high) each.

        A network of these inputs solves an equation for a whole range of a viscosity or of a
        wavenumber. Points are drawn over all of it; but a parameter has no boundary, so that
        conditions have no points there, and is no part of ``u.laplacian``, for which it stands in
        the ``parameter_inputs`` of the equation too.

        Raises:
            ValueError: no parameter, one of the coordinates, the time t, or bad bounds.

        >>> from pyneural.pde import Box
        >>> domain = Box(t=(0, 1), x=(-1, 1)).with_parameters(nu=(0.01, 0.1))
        >>> domain, domain.names, domain.spatial
        (Box(t=(0.0, 1.0), x=(-1.0, 1.0)).with_parameters(nu=(0.01, 0.1)), ('t', 'x', 'nu'), ('x',))
        """
        return Product([self, *self.parameter_axes(ranges)])

    def parameter_axes(self, ranges: dict[str, Sequence[float]]) -> list[Axis]:
        """Axes of further parameters; ValueError for names that are taken."""
        for name in ranges or ("none",):
            if name in (TIME, "none", *self.names):
                raise ValueError(
                    f"{self.kind}.with_parameters: expected names that are no coordinates, got "
                    f"{name}; for instance with_parameters(nu=(0.01, 0.1))"
                )
        return [axis(name, bounds, "parameter", self.kind) for name, bounds in ranges.items()]


class Axis(Shape):
    """One coordinate between two bounds: of space, the time, or a parameter of the problem.

    Args:
        name: of the coordinate.
        low: lower bound.
        high: upper bound.
        role: ``"space"``, ``"time"`` or ``"parameter"``.

    >>> Axis("x", 0.0, 2.0, "space").measure
    2.0
    """

    units = 1

    def __init__(self, name: str, low: float, high: float, role: str) -> None:
        self.names, self.role = (name,), role
        self.spatial = (name,) if role == "space" else ()
        self.parameters = (name,) if role == "parameter" else ()
        self.low, self.high = torch.tensor([[low], [high]], dtype=torch.float64)
        self.measure = self.bulk = float(high) - float(low)
        scale = self.measure, max(abs(float(low)), abs(float(high)))
        ends = tuple(
            End(float(at), outward, (f"{name}_{side}",), *scale)
            for side, at, outward in (("low", low, -1.0), ("high", high, 1.0))
        )
        self.patches = ends if role == "space" else ()
        self.time_patches = ends if role == "time" else ()

    def __repr__(self) -> str:
        return f"{self.names[0]}=({float(self.low)}, {float(self.high)})"

    def propose(self, unit: Tensor) -> tuple[Tensor, None]:
        """From low + (high - low) u."""
        return self.low + (self.high - self.low) * unit, None

    def inside(self, x: Tensor) -> Tensor:
        """Between the bounds: low <= x <= high."""
        return ((x >= self.low) & (x <= self.high))[:, 0]

    def contains(self, x: Tensor) -> Tensor:
        """As ``inside``, the bounds rounded to x's dtype."""
        low, high = self.low.to(x.device, x.dtype), self.high.to(x.device, x.dtype)
        return ((x >= low) & (x <= high))[:, 0]

    def signed_distance(self, x: Tensor) -> Tensor:
        """Of the nearer end, exactly."""
        return torch.maximum(self.low.to(x) - x, x - self.high.to(x))[:, 0]


def axis(name: str, bounds: Sequence[float], role: str, where: str) -> Axis:
    """An axis; ValueError for bounds that are not finite with low < high."""
    pair: Any = bounds
    try:
        pair = tuple(bounds)
        good = len(pair) == 2 and all(math.isfinite(b) for b in pair) and pair[0] < pair[1]
    except TypeError:  # no pair, or not of numbers
        good = False
    if not good:
        raise ValueError(
            f"{where}: {name}: expected finite bounds (low, high) with low < high, "
            f"got {pair}; correct or exchange them"
        )
    return Axis(name, pair[0], pair[1], role)


class Product(Shape):
    """All combinations of points of domains with different coordinates, columns side by side.

        A x B = {(a, b): a in A, b in B},    boundary = union of dA x B and A x dB

    The time and parameters have no boundary in space. The signed distance is exact if those of the
    factors are.

    Args:
        factors: the domains; products among them are taken apart.

    Raises:
        ValueError: a coordinate twice.

    >>> from pyneural.pde import Disk, Interval
    >>> pipe = Disk(x=0, y=0, radius=1, name="wall") * Interval(0, 5, name="z")
    >>> pipe.names, pipe.parts, round(pipe.measure / torch.pi, 9)
    (('x', 'y', 'z'), ('wall', 'z_low', 'z_high'), 5.0)
    """

    factors: tuple[Domain, ...]
    plain = True  # named as a whole, it is no longer to be taken apart

    def __init__(self, factors: Sequence[Domain]) -> None:
        apart: list[Domain] = []
        for factor in factors:
            apart += factor.factors if isinstance(factor, Product) and factor.plain else [factor]
        self.factors = tuple(apart)
        self.names = tuple(name for factor in apart for name in factor.names)
        for name in self.names:
            if self.names.count(name) > 1:
                shown = " and ".join(repr(factor) for factor in factors)
                raise ValueError(
                    f"Product: domains: expected different coordinates, got {name} twice in "
                    f"{shown}; rename one, or combine them by |, - or &"
                )
        self.spatial = tuple(name for factor in apart for name in factor.spatial)
        self.parameters = tuple(name for factor in apart for name in factor.parameters)
        self.low = torch.cat([factor.low for factor in apart])
        self.high = torch.cat([factor.high for factor in apart])
        known = [factor.measure for factor in apart if factor.measure is not None]
        self.measure = math.prod(known) if len(known) == len(apart) else None
        self.bulk = math.prod(factor.bulk for factor in apart)
        self.share = math.prod(factor.share for factor in apart)
        self.units = sum(factor.units for factor in apart)
        self.patches = tuple(
            Joint(apart, i, patch) for i, factor in enumerate(apart) for patch in factor.patches
        )
        self.time_patches = tuple(
            Joint(apart, i, patch) for i, f in enumerate(apart) for patch in f.time_patches
        )

    def named(self, name: str) -> Product:
        """See ``Domain.named``."""
        clone = super().named(name)
        clone.plain = False
        return clone

    def __repr__(self) -> str:
        axes = {f: f for f in self.factors if isinstance(f, Axis)}
        shown, waiting = [], []
        for factor in self.factors:
            if isinstance(factor, Axis) and factor.role != "parameter":
                waiting.append(repr(factor))
            elif factor not in axes:
                if waiting:
                    shown.append(f"Box({', '.join(waiting)})")
                shown.append(repr(factor))
                waiting = []
        if waiting:
            shown.append(f"Box({', '.join(waiting)})")
        text = " * ".join(shown)
        declared = [repr(f) for f in axes if f.role == "parameter"]
        if not declared:
            return text
        return f"{text if len(shown) < 2 else f'({text})'}.with_parameters({', '.join(declared)})"

    def numbers(self) -> list[Tensor]:
        """Those of the factors."""
        return [number for factor in self.factors for number in factor.numbers()]

    def propose(self, unit: Tensor) -> tuple[Tensor, Tensor | None]:
        """Each factor's proposal, side by side."""
        columns, keep = [], None
        counts = [factor.units for factor in self.factors]
        for factor, numbers in zip(self.factors, unit.split(counts, 1), strict=True):
            points, good = factor.propose(numbers)
            columns.append(points)
            if good is not None:
                keep = good if keep is None else keep & good
        return torch.cat(columns, 1), keep

    def inside(self, x: Tensor) -> Tensor:
        """Inside all factors."""
        return torch.stack([f.inside(part) for f, part in self._split(x)]).all(0)

    def contains(self, x: Tensor) -> Tensor:
        """In all factors, the bounds of the time and parameters rounded to x's dtype."""
        return torch.stack([f.contains(part) for f, part in self._split(x)]).all(0)

    def accepts(self, x: Tensor) -> Tensor:
        """By all factors."""
        return torch.stack([f.accepts(part) for f, part in self._split(x)]).all(0)

    def signed_distance(self, x: Tensor) -> Tensor:
        """By Pythagoras outside, the nearest boundary inside."""
        parts = [f.signed_distance(part) for f, part in self._split(x) if f.spatial]
        if len(parts) == 1:
            return parts[0]
        distances = torch.stack(parts, 1)
        outside = torch.linalg.vector_norm(distances.clamp_min(0), dim=1)
        return outside + distances.amax(1).clamp_max(0)

    def _split(self, x: Tensor) -> list[tuple[Domain, Tensor]]:
        counts = [factor.dim for factor in self.factors]
        return list(zip(self.factors, x.split(counts, 1), strict=True))


class Combined(Shape):
    """Union, difference or intersection of two shapes: ``a | b``, ``a - b``, ``a & b``.

    The result is closed and has no parts without interior: an interface inside a union is no
    boundary, nor a face along which a difference takes nothing away.

    Lengths, areas and the signed distance are exact on the line and in the plane, where curves are
    cut at the points where they meet. In three dimensions and more the boundary is drawn from by
    rejection, and the signed distance is that of min and max (its sign and zeros are exact, its
    size is at most the distance).

    Names of sides (``x_low``...) of what is taken away are dropped; give it one by ``named``.

    Args:
        operation: ``"|"``, ``"-"`` or ``"&"``.
        first: a shape in space.
        second: one with the same coordinates.

    Raises:
        ValueError: other coordinates, the time among them, or a result without interior.

    >>> from pyneural.pde import Disk
    >>> lens = Disk(x=0, y=0, radius=1) & Disk(x=1, y=0, radius=1)
    >>> round(lens.measure, 6)  # 2 pi / 3 - sqrt(3) / 2
    1.22837
    """

    def __init__(self, operation: str, first: Domain, second: Domain) -> None:
        check_combined(operation, first, second)
        self.operation, self.first, self.second = operation, first, second
        self.names = self.spatial = first.names
        self.low, self.high = box_of(operation, first, second)
        self.units = max(first.units, second.units) + (operation == "|")
        self.bulk = {"|": first.bulk + second.bulk, "-": first.bulk}.get(
            operation, min(first.bulk, second.bulk)
        )
        self.patches = boundary_of(self)
        self.measure = measure_of(self)
        self.share = kept_share(self.propose, self.units)
        if self.share == 0 or not self.patches:
            raise ValueError(
                f"Domain: {self}: expected a domain with an interior, got none (all of many points "
                "drawn are outside); check the places and sizes of both shapes"
            )

    def __repr__(self) -> str:
        return f"({self.first} {self.operation} {self.second})"

    def numbers(self) -> list[Tensor]:
        """Those of both shapes."""
        return [*self.first.numbers(), *self.second.numbers()]

    def propose(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Points of the first shape, the smaller one or both, and which are in the result."""
        return propose_of(self, unit)

    def inside(self, x: Tensor) -> Tensor:
        """By those of the two shapes."""
        a, b = self.first.inside(x), self.second.inside(x)
        return {"|": a | b, "-": a & ~b, "&": a & b}[self.operation]

    def signed_distance(self, x: Tensor) -> Tensor:
        """Exact in up to two dimensions, else a bound."""
        return signed_distance_of(self, x)


def _combined(operation: str, first: Domain, second: Domain) -> Domain:
    """Two shapes combined in space; the time and parameters must be the same for both."""
    if not isinstance(second, Domain):
        return NotImplemented
    check_combined(operation, first, second)
    if first.names == first.spatial:
        return Combined(operation, first, second)
    # Time and parameters stay outside: (time x a) - (time x b) = time x (a - b).
    parts = [f.factors if isinstance(f, Product) else (f,) for f in (first, second)]
    space = _combined(operation, *(_product([f for f in part if f.spatial]) for part in parts))
    factors: list[Domain] = []
    for factor in parts[0]:
        if not factor.spatial:
            factors.append(factor)
        elif space not in factors:
            factors.append(space)
    return _product(factors)


def _product(factors: Sequence[Domain]) -> Domain:
    return factors[0] if len(factors) == 1 else Product(factors)
