"""Disks, ellipses and balls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pyneural.pde.coordinates import TIME
from pyneural.pde.domains.algebra import Shape
from pyneural.pde.domains.curves import Arc, Curves
from pyneural.pde.domains.patches import Sphere, directions, units_of_direction


class Ellipse(Shape):
    """An ellipse in the plane.

        ((x - x0) / a)^2 + ((y - y0) / b)^2 <= 1,    turned about its center

    Args:
        radii: half axes (a, b).
        angle: by which the first half axis is turned from x towards y, in radians.
        name: of the boundary, as ``part=`` takes it.
        center: coordinates of the center, as keywords: ``x=0, y=0``.

    Raises:
        ValueError: radii that are not > 0, other than two coordinates, t, numbers not finite.

    >>> wing = Ellipse(x=0, y=0, radii=(2, 1))
    >>> round(wing.measure / math.pi, 9), round(wing.boundary_measure(), 5)
    (2.0, 9.68845)
    """

    kind, units = "Ellipse", 2

    def __init__(
        self,
        *,
        radii: Sequence[float],
        angle: float = 0.0,
        name: str | None = None,
        **center: float,
    ) -> None:
        self.radii, self.angle = _positive(self.kind, "radii", radii, 2), float(angle)
        self.names = self.spatial = _coordinates(self.kind, center, 2)
        self.center = torch.tensor([float(value) for value in center.values()]).double()
        cosine, sine = math.cos(angle), math.sin(angle)
        axes = np.array([[cosine, -sine], [sine, cosine]]) * np.array(self.radii)
        self.arc = Arc(self.center.numpy(), axes)
        self.axes = torch.from_numpy(axes)
        reach = torch.linalg.vector_norm(self.axes, dim=1)
        self.low, self.high = self.center - reach, self.center + reach
        self.measure = self.bulk = math.pi * self.radii[0] * self.radii[1]
        self.name = name
        self.patches = (Curves(np.empty((0, 2, 2)), [self.arc], () if name is None else (name,)),)

    def __repr__(self) -> str:
        turned = f", angle={self.angle}" if self.angle else ""
        return _shown("Ellipse", self, f"radii={self.radii}{turned}")

    def propose(self, unit: Tensor) -> tuple[Tensor, None]:
        """Area is proportional to the squared radius."""
        angle = 2 * math.pi * unit[:, 1]
        circle = unit[:, :1].sqrt() * torch.stack([angle.cos(), angle.sin()], 1)
        return self.center + circle @ self.axes.T, None

    def inside(self, x: Tensor) -> Tensor:
        """By the equation."""
        return torch.linalg.vector_norm(self._unit(x), dim=1) <= 1

    def signed_distance(self, x: Tensor) -> Tensor:
        """To the nearest point, which is searched for."""
        distance = self.patches[0].distance(x)
        inside = torch.linalg.vector_norm(self._unit(x), dim=1) <= 1
        return torch.where(inside, -distance, distance)

    def _unit(self, x: Tensor) -> Tensor:
        """Coordinates in which it is the unit circle."""
        return (x - self.center.to(x)) @ torch.linalg.inv(self.axes).T.to(x)


class Disk(Ellipse):
    """A disk in the plane.

        (x - x0)^2 + (y - y0)^2 <= r^2

    Args:
        radius: r > 0.
        name: of the boundary, as ``part=`` takes it.
        center: coordinates of the center, as keywords: ``x=0, y=0``.

    Raises:
        ValueError: a radius that is not > 0, other than two coordinates, t, numbers not finite.

    >>> annulus = Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.5, name="hole")
    >>> annulus.contains(torch.tensor([[0.0, 0.0], [0.7, 0.0]])).tolist(), annulus.parts
    ([False, True], ('hole',))
    """

    kind = "Disk"

    def __init__(self, *, radius: float, name: str | None = None, **center: float) -> None:
        (self.radius,) = _positive(self.kind, "radius", [radius], 1)
        super().__init__(radii=(radius, radius), name=name, **center)

    def __repr__(self) -> str:
        return _shown("Disk", self, f"radius={self.radius}")

    def inside(self, x: Tensor) -> Tensor:
        """By the distance from the center."""
        return self.signed_distance(x) <= 0

    def signed_distance(self, x: Tensor) -> Tensor:
        """|x - c| - r."""
        return torch.linalg.vector_norm(x - self.center.to(x), dim=1) - self.radius


class Ball(Shape):
    """A ball in three or more dimensions.

        |x - x0| <= r

    Args:
        radius: r > 0.
        name: of the boundary, as ``part=`` takes it.
        center: coordinates of the center, as keywords: ``x=0, y=0, z=0``.

    Raises:
        ValueError: a radius that is not > 0, fewer than three coordinates, t, numbers not finite.

    >>> ball = Ball(x=0, y=0, z=0, radius=3)
    >>> round(ball.measure / math.pi, 9), round(ball.boundary_measure() / math.pi, 9)
    (36.0, 36.0)
    """

    kind = "Ball"

    def __init__(self, *, radius: float, name: str | None = None, **center: float) -> None:
        (self.radius,) = _positive("Ball", "radius", [radius], 1)
        self.names = self.spatial = _coordinates("Ball", center, None)
        self.center = torch.tensor([float(value) for value in center.values()]).double()
        self.low, self.high = self.center - self.radius, self.center + self.radius
        d = self.dim
        self.measure = self.bulk = math.pi ** (d / 2) / math.gamma(d / 2 + 1) * self.radius**d
        self.units = 1 + units_of_direction(d)
        self.name = name
        self.patches = (Sphere(self.center, self.radius, () if name is None else (name,)),)

    def __repr__(self) -> str:
        return _shown("Ball", self, f"radius={self.radius}")

    def propose(self, unit: Tensor) -> tuple[Tensor, None]:
        """Volume is proportional to the radius to the power D."""
        radius = self.radius * unit[:, :1] ** (1 / self.dim)
        return self.center + radius * directions(unit[:, 1:], self.dim), None

    def inside(self, x: Tensor) -> Tensor:
        """By the distance from the center."""
        return self.signed_distance(x) <= 0

    def signed_distance(self, x: Tensor) -> Tensor:
        """|x - c| - r."""
        return torch.linalg.vector_norm(x - self.center.to(x), dim=1) - self.radius


def _positive(where: str, argument: str, values: Sequence[float], count: int) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != count or not all(0 < value < math.inf for value in numbers):
        got = numbers if count > 1 else numbers[0]
        expected = f"{count} numbers > 0" if count > 1 else "a number > 0"
        raise ValueError(f"{where}: {argument}: expected {expected}, got {got}; correct it")
    return numbers


def _coordinates(where: str, center: Mapping[str, float], count: int | None) -> tuple[str, ...]:
    """Names of the coordinates of a center; ValueError for a wrong number, t, or no numbers."""
    names = tuple(center)
    good = len(names) == count if count else len(names) >= 3
    if not good or TIME in names or not all(math.isfinite(value) for value in center.values()):
        expected = "two coordinates" if count else "three coordinates or more"
        remedy = "x=0, y=0" if count else "x=0, y=0, z=0"
        shown = ", ".join(f"{name}={value}" for name, value in center.items()) or "none"
        raise ValueError(
            f"{where}: center: expected {expected} in space and finite numbers, got {shown}; write "
            f"{where}({remedy}, ...), and with_time(0, 1) for the time"
        )
    return names


def _shown(kind: str, shape: Ellipse | Ball, size: str) -> str:
    center = zip(shape.names, shape.center.tolist(), strict=True)
    name = "" if shape.name is None else f", name={shape.name!r}"
    return f"{kind}({', '.join(f'{n}={value}' for n, value in center)}, {size}{name})"
