"""Intervals and boxes, with or without time as one of the coordinates."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from typing_extensions import Unpack

from pyneural.pde.coordinates import TIME
from pyneural.pde.domains.algebra import Product, axis
from pyneural.pde.domains.base import Domain
from pyneural.pde.domains.drawing import Drawing


class Box(Product):
    """A box of named coordinates, t for the time; the order of the names is that of the columns.

        domain = [low_1, high_1] x ... x [low_D, high_D]

    Its faces are the parts ``x_low``, ``x_high`` and so on of the boundary; points on several are
    shared evenly among them, whatever their areas. See ``Domain`` for what it can do.

    Args:
        bounds: (low, high) of each coordinate, as keywords.

    Raises:
        ValueError: no coordinate, or bounds that are not finite with low < high.

    >>> domain = Box(t=(0, 1), x=(-1, 1))
    >>> domain
    Box(t=(0.0, 1.0), x=(-1.0, 1.0))
    >>> domain.sample(5).shape, domain.sample_initial(3)[:, 0].tolist()
    (torch.Size([5, 2]), [0.0, 0.0, 0.0])
    >>> domain.sample_boundary(5)[:, 1].tolist()
    [-1.0, -1.0, -1.0, 1.0, 1.0]
    >>> domain.grid(2, 3).tolist()[:4]
    [[0.0, -1.0], [0.0, 0.0], [0.0, 1.0], [1.0, -1.0]]
    """

    kind = "Box"
    evenly = True

    def __init__(self, **bounds: Sequence[float]) -> None:
        if not bounds:
            raise ValueError(
                "Box: bounds: expected at least one coordinate, got none; "
                "for instance Box(t=(0, 1), x=(-1, 1))"
            )
        roles = {name: "time" if name == TIME else "space" for name in bounds}
        super().__init__([axis(name, pair, roles[name], "Box") for name, pair in bounds.items()])

    @classmethod
    def of_axes(cls, axes: Sequence[Domain]) -> Box:
        """A box of axes that there are already."""
        box = cls.__new__(cls)
        Product.__init__(box, axes)
        return box

    def __mul__(self, other: Domain) -> Domain:
        if isinstance(other, Box) and self.plain and other.plain:
            return Box.of_axes([*self.factors, *other.factors])
        return super().__mul__(other)

    def with_time(self, first: float, last: float) -> Domain:
        """The box at all times between two: t is the first coordinate.

        >>> Box(x=(-1, 1)).with_time(0, 1)
        Box(t=(0.0, 1.0), x=(-1.0, 1.0))
        """
        product = super().with_time(first, last)
        return Box.of_axes(product.factors) if self.plain else product  # type: ignore[attr-defined]

    def with_parameters(self, **ranges: Sequence[float]) -> Domain:
        """See ``Domain``: the box with parameters of the problem as further coordinates."""
        axes = self.parameter_axes(ranges)
        return Box.of_axes([*self.factors, *axes]) if self.plain else Product([self, *axes])

    def sample_face(self, coordinate: str, side: str, n: int, **drawing: Unpack[Drawing]) -> Tensor:
        """Draws n points on the face where a coordinate is at its low or high bound, [n, D].

        >>> Box(t=(0, 1), x=(-1, 1)).sample_face("x", "high", 2)[:, 1].tolist()
        [1.0, 1.0]
        """
        self.index(coordinate, "Box.sample_face")
        if side not in ("low", "high"):
            raise ValueError(
                f"Box.sample_face: side: expected 'low' or 'high', got {side!r}; choose one"
            )
        return self.boundary(n, part=f"{coordinate}_{side}", **drawing)[0]


def Interval(
    low: float, high: float, *, name: str = "x", time: Sequence[float] | None = None
) -> Box:
    """An interval in space, with or without time: Box(x=...) or Box(t=..., x=...).

    Args:
        low: lower bound of the interval.
        high: upper bound of the interval.
        name: name of the coordinate.
        time: (first, last) time; None for a steady problem.

    >>> Interval(-1, 1, time=(0, 1))
    Box(t=(0.0, 1.0), x=(-1.0, 1.0))
    """
    return Box(**({TIME: time} if time is not None else {}), **{name: (low, high)})
