"""Domains: an interval or a box, with or without time as one of the coordinates."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor
from typing_extensions import Unpack

from pyneural.errors import whole
from pyneural.pde.coordinates import TIME
from pyneural.pde.sampling import unit_points


class Drawing(TypedDict, total=False):
    """How points are drawn: keywords of the methods that draw them."""

    sampling: str
    generator: torch.Generator | None
    dtype: torch.dtype | None
    device: torch.device | str | None


class Box:
    """A box of named coordinates, t for the time; the order of the names is that of the columns.

        domain = [low_1, high_1] x ... x [low_D, high_D]

    Points are float64 random numbers made on the CPU, then converted, so that one seed gives the
    same points for every dtype and device; a warning says where they coincide then. All drawing
    methods take ``sampling`` (one of ``SAMPLINGS``), ``generator``, ``dtype`` (default: torch's
    default) and ``device``.

    Args:
        bounds: (low, high) of each coordinate, as keywords.

    Attributes:
        names: of the D coordinates.
        spatial: names of the coordinates other than the time and parameters of the problem.
        parameters: names of those; see ``with_parameters``.
        dim: number D of coordinates, the time included.
        has_time: whether t is one of them.
        range: (low [D], high [D]) in float64, as ``nn.MLP(input_range=...)`` takes it.

    Raises:
        ValueError: no coordinate, or bounds that are not finite with low < high.

    >>> domain = Box(t=(0, 1), x=(-1, 1))
    >>> domain
    Box(t=(0.0, 1.0), x=(-1.0, 1.0))
    >>> domain.sample(5).shape, domain.sample_initial(3)[:, 0].tolist()
    (torch.Size([5, 2]), [0.0, 0.0, 0.0])
    """

    def __init__(self, **bounds: Sequence[float]) -> None:
        if not bounds:
            raise ValueError(
                "Box: bounds: expected at least one coordinate, got none; "
                "for instance Box(t=(0, 1), x=(-1, 1))"
            )
        for name, pair in bounds.items():
            if len(pair) != 2 or not all(math.isfinite(b) for b in pair) or pair[0] >= pair[1]:
                raise ValueError(
                    f"Box: {name}: expected finite bounds (low, high) with low < high, "
                    f"got {tuple(pair)}; correct or exchange them"
                )
        self.names = tuple(bounds)
        self.spatial = tuple(name for name in bounds if name != TIME)
        self.parameters: tuple[str, ...] = ()
        self.dim, self.has_time = len(bounds), TIME in bounds
        self.low, self.high = torch.tensor(list(bounds.values()), dtype=torch.float64).T
        self.range = self.low, self.high

    def __repr__(self) -> str:
        bounds = zip(self.names, self.low.tolist(), self.high.tolist(), strict=True)
        shown = {name: f"{name}=({low}, {high})" for name, low, high in bounds}
        declared = ", ".join(shown.pop(name) for name in self.parameters)
        box = f"Box({', '.join(shown.values())})"
        return f"{box}.with_parameters({declared})" if declared else box

    def with_parameters(self, **ranges: Sequence[float]) -> Box:
        """The box with parameters of the problem as further coordinates, (low, high) each.

        A network of these inputs solves an equation for a whole range of a viscosity or of a
        wavenumber. Points are drawn over all of it; but a parameter has no boundary, so that
        conditions have no points there, and is no part of ``u.laplacian``, for which it stands in
        the ``parameter_inputs`` of the equation too.

        Raises:
            ValueError: no parameter, one of the coordinates, the time t, or bad bounds.

        >>> domain = Box(t=(0, 1), x=(-1, 1)).with_parameters(nu=(0.01, 0.1))
        >>> domain, domain.names, domain.spatial
        (Box(t=(0.0, 1.0), x=(-1.0, 1.0)).with_parameters(nu=(0.01, 0.1)), ('t', 'x', 'nu'), ('x',))
        """
        for name in ranges or ("none",):
            if name in (TIME, "none", *self.names):
                raise ValueError(
                    f"Box.with_parameters: expected names that are no coordinates, got {name}; "
                    "for instance with_parameters(nu=(0.01, 0.1))"
                )
        bounds = zip(
            self.names, zip(self.low.tolist(), self.high.tolist(), strict=True), strict=True
        )
        box = Box(**dict(bounds), **ranges)
        box.parameters = (*self.parameters, *ranges)
        box.spatial = self.spatial
        return box

    def index(self, coordinate: str, where: str = "Box") -> int:
        """Column of a coordinate; ValueError if the domain has none of that name.

        >>> Box(t=(0, 1), x=(-1, 1)).index("x")
        1
        """
        if coordinate not in self.names:
            raise ValueError(
                f"{where}: coordinate: expected one of {', '.join(self.names)}, "
                f"got {coordinate!r}; use a name of the domain {self}"
            )
        return self.names.index(coordinate)

    def sample(self, n: int, **drawing: Unpack[Drawing]) -> Tensor:
        """Draws n points in the interior, [n, D].

        >>> g = torch.Generator().manual_seed(0)
        >>> points = Box(x=(2, 3)).sample(100, sampling="sobol", generator=g)
        >>> bool((points >= 2).all() and (points <= 3).all())
        True
        """
        return self._draw(n, {}, **drawing)

    def sample_initial(self, n: int, **drawing: Unpack[Drawing]) -> Tensor:
        """Draws n points at the initial time, [n, D]; ValueError for a domain without t.

        >>> Box(t=(1, 2), x=(0, 1)).sample_initial(2)[:, 0].tolist()
        [1.0, 1.0]
        """
        if not self.has_time:
            raise ValueError(
                f"Box.sample_initial: domain: expected a coordinate t, got {self}; "
                "add it, for instance Box(t=(0, 1), x=(-1, 1))"
            )
        return self.sample_face(TIME, "low", n, **drawing)

    def sample_face(self, coordinate: str, side: str, n: int, **drawing: Unpack[Drawing]) -> Tensor:
        """Draws n points on the face where a coordinate is at its low or high bound, [n, D].

        >>> Box(t=(0, 1), x=(-1, 1)).sample_face("x", "high", 2)[:, 1].tolist()
        [1.0, 1.0]
        """
        column = self.index(coordinate, "Box.sample_face")
        if side not in ("low", "high"):
            raise ValueError(
                f"Box.sample_face: side: expected 'low' or 'high', got {side!r}; choose one"
            )
        bound = self.low if side == "low" else self.high
        return self._draw(n, {column: float(bound[column])}, **drawing)

    def _draw(
        self,
        n: int,
        fixed: dict[int, float],
        *,
        sampling: str = "uniform",
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Points whose columns are fixed or drawn between their bounds, [n, D]."""
        n = whole("Box.sample: n", n)
        free = [d for d in range(self.dim) if d not in fixed]
        points = torch.empty(n, self.dim, dtype=torch.float64)
        for column, value in fixed.items():
            points[:, column] = value
        unit = unit_points(n, len(free), sampling, generator=generator)
        points[:, free] = self.low[free] + (self.high - self.low)[free] * unit
        return self._converted(
            points, [1 if d in fixed else n for d in range(self.dim)], dtype, device
        )

    def sample_boundary(self, n: int, **drawing: Unpack[Drawing]) -> Tensor:
        """Draws n points on the faces of the spatial coordinates, shared evenly among them, [n, D].

        >>> Box(t=(0, 1), x=(-1, 1)).sample_boundary(5)[:, 1].tolist()
        [-1.0, -1.0, -1.0, 1.0, 1.0]
        """
        n = whole("Box.sample_boundary: n", n)
        if n < 1 or not self.spatial:
            raise ValueError(
                f"Box.sample_boundary: n: expected at least 1 point and a spatial coordinate, "
                f"got {n} points on {self}; ask for more, or use sample_initial"
            )
        faces = [(name, side) for name in self.spatial for side in ("low", "high")]
        return self.sample_faces(faces, n, **drawing)[0]

    def sample_faces(
        self, faces: Sequence[tuple[str, str]], n: int, **drawing: Unpack[Drawing]
    ) -> tuple[Tensor, Tensor]:
        """Draws n >= 1 points on faces, shared evenly: points [n, D], and indices into faces [n].

        >>> points, face = Box(x=(0, 1)).sample_faces([("x", "low"), ("x", "high")], 3)
        >>> points.tolist(), face.tolist()
        ([[0.0], [0.0], [1.0]], [0, 0, 1])
        """
        n = whole("Box.sample_faces: n", n)
        counts = [(n + len(faces) - 1 - i) // len(faces) for i in range(len(faces))]
        shares = zip(faces, counts, strict=True)
        parts = [self.sample_face(*face, count, **drawing) for face, count in shares if count]
        return torch.cat(parts), torch.repeat_interleave(torch.tensor(counts))

    def grid(
        self,
        *counts: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Regular grid, bounds included; the first coordinate varies slowest.

        Args:
            counts: number of points along each coordinate.
            dtype: of the points; torch's default one by default.
            device: of the points.

        Returns:
            [product of counts, D].

        >>> Box(t=(0, 1), x=(-1, 1)).grid(2, 3).tolist()[:4]
        [[0.0, -1.0], [0.0, 0.0], [0.0, 1.0], [1.0, -1.0]]
        """
        if len(counts) != self.dim or min(counts) < 1:
            raise ValueError(
                f"Box.grid: counts: expected {self.dim} counts >= 1 ({', '.join(self.names)}), "
                f"got {counts}; give one per coordinate"
            )
        ends = zip(self.low.tolist(), self.high.tolist(), counts, strict=True)
        axes = [torch.linspace(*each, dtype=torch.float64) for each in ends]
        points = torch.cartesian_prod(*axes).view(-1, self.dim)
        return self._converted(points, counts, dtype, device)

    def _converted(
        self,
        points: Tensor,
        counts: Sequence[int],
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Tensor:
        """Points in another dtype; warns where it has too few numbers between the bounds."""
        dtype = dtype or torch.get_default_dtype()
        bounds = zip(self.names, self.low.tolist(), self.high.tolist(), counts, strict=True)
        for name, low, high, count in bounds:
            _, exponent = math.frexp(max(abs(low), abs(high)))
            spacing = math.ldexp(torch.finfo(dtype).eps, exponent - 1)
            numbers = int((high - low) / spacing) + 1
            if count > numbers:
                warnings.warn(
                    f"Box: {name}: {dtype} has {numbers:,} different numbers in ({low}, {high}) "
                    f"for {count:,} points, some of which coincide; draw them with "
                    f"dtype=torch.float64, or count {name} from 0, as (0, {high - low:g})",
                    stacklevel=4,
                )
        return points.to(device=device, dtype=dtype)

    def contains(self, x: Tensor) -> Tensor:
        """Which points [N, D] lie in the closed box, [N] bool; bounds are rounded to x's dtype.

        >>> Box(x=(0, 1)).contains(torch.tensor([[0.5], [1.0], [1.5]])).tolist()
        [True, True, False]
        """
        low, high = self.low.to(x.device, x.dtype), self.high.to(x.device, x.dtype)
        return ((x >= low) & (x <= high)).all(dim=1)

    def check(self, x: Tensor, argument: str = "points", where: str = "Box") -> None:
        """Raises ValueError unless x is [N, D] floating, N >= 1, finite and in the closed box.

        >>> Box(x=(0, 1)).check(torch.tensor([[2.0]]))
        Traceback (most recent call last):
        ValueError: Box: points: expected points in Box(x=(0.0, 1.0)), got 1 of 1 outside, \
the first x=2; remove them or widen the domain
        """
        if x.dim() != 2 or x.shape[1] != self.dim or not x.is_floating_point():
            raise ValueError(
                f"{where}: {argument}: expected floating-point [N, {self.dim}] "
                f"({', '.join(self.names)}), got {x.dtype} {list(x.shape)}; "
                "give one row per point, one column per coordinate"
            )
        if x.shape[0] == 0:
            raise ValueError(
                f"{where}: {argument}: expected at least 1 point, got none; give some points"
            )
        outside = ~self.contains(x)
        if bool(outside.any()):
            first = x[outside][0].tolist()
            text = ", ".join(f"{n}={value:g}" for n, value in zip(self.names, first, strict=True))
            raise ValueError(
                f"{where}: {argument}: expected points in {self}, got {int(outside.sum())} of "
                f"{x.shape[0]} outside, the first {text}; remove them or widen the domain"
            )


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
