"""What every domain can do: draw points, tell inside from outside, give outward normals."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import Self, Unpack

from pyneural.errors import check_tensor, whole
from pyneural.pde.coordinates import TIME
from pyneural.pde.domains.drawing import Drawing, draw_interior, draw_patches, rounded
from pyneural.pde.domains.patches import ROUNDING, Patch, spread, tolerance


class Domain:
    """A region with named coordinates, t for the time; the order of the names is that of columns.

    Points are float64 random numbers made on the CPU, then converted, so that one seed gives the
    same points for every dtype and device. All drawing methods take ``sampling`` (one of
    ``SAMPLINGS``), ``generator``, ``dtype`` (default: torch's default) and ``device``.

    The region is closed: a point on an edge is inside, and so is one that rounding has put outside
    (by up to 8 units in the last place of the largest coordinate in its dtype).

    Attributes:
        names: of the D coordinates.
        spatial: names of the coordinates other than the time and parameters of the problem.
        parameters: names of those; see ``with_parameters``.
        dim: number D of coordinates, the time included.
        has_time: whether t is one of them.
        low, high: corners of a box around it, [D] in float64.
        range: (low, high), as ``nn.MLP(input_range=...)`` takes it.
        measure: length, area, volume..., the time and parameters included; None where it is not
            known exactly, as for constructive geometry in three dimensions.
        limit: how many different points there are; None for no limit.

    A subclass sets these attributes and those below, with which domains are put together.

    Attributes:
        units: how many numbers in [0, 1) ``propose`` makes a point of.
        bulk: measure that proposals are spread over.
        share: of the proposals that are kept; 1 where none is rejected.
        patches: pieces of the boundary in space.
        time_patches: those at the first and last time.
        evenly: whether pieces get as many points as each other, not by length or area.
    """

    names: tuple[str, ...]
    spatial: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    low: Tensor
    high: Tensor
    measure: float | None = None
    limit: int | None = None
    units: int
    bulk: float
    share: float = 1.0
    patches: tuple[Patch, ...] = ()
    time_patches: tuple[Patch, ...] = ()
    evenly: bool = False
    kind = "Domain"  # the name that an error begins with

    def propose(self, unit: Tensor) -> tuple[Tensor, Tensor | None]:
        """Numbers in [0, 1) [n, units] to points [n, D], and which of them to keep."""
        raise NotImplementedError

    def inside(self, x: Tensor) -> Tensor:
        """Which points [N, D] are inside, without regard to rounding, [N] bool."""
        raise NotImplementedError

    def signed_distance(self, x: Tensor) -> Tensor:
        """Distance in space of points [N, D] to the boundary, negative inside, [N].

        It has gradients; t and parameters do not matter.

        >>> from pyneural.pde import Disk
        >>> points = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
        >>> Disk(x=0, y=0, radius=1).signed_distance(points).tolist()
        [-1.0, 2.0]
        """
        raise NotImplementedError

    def numbers(self) -> list[Tensor]:
        """All numbers that the domain is made of, some of which ``repr`` leaves out.

        >>> from pyneural.pde import Box
        >>> Box(x=(0, 1)).numbers()
        [tensor([0.], dtype=torch.float64), tensor([1.], dtype=torch.float64)]
        """
        return [self.low, self.high]

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.names)

    @property
    def has_time(self) -> bool:
        """Whether t is a coordinate."""
        return TIME in self.names

    @property
    def range(self) -> tuple[Tensor, Tensor]:
        """(low [D], high [D])."""
        return self.low, self.high

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of the boundary in space, as ``part=`` takes them.

        >>> from pyneural.pde import Box, Disk
        >>> (Box(x=(0, 2), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole")).parts
        ('x_low', 'x_high', 'y_low', 'y_high', 'hole')
        """
        return tuple(dict.fromkeys(label for patch in self.patches for label in patch.labels))

    def named(self, name: str) -> Self:
        """The same domain, whose boundary is a part of this name, beside the names it has.

        >>> from pyneural.pde import Box
        >>> Box(x=(0, 1)).named("ends").parts
        ('x_low', 'ends', 'x_high')
        """
        clone = copy.copy(self)
        clone.patches = tuple(patch.labelled(name) for patch in self.patches)
        return clone

    def index(self, coordinate: str, where: str = "Domain") -> int:
        """Column of a coordinate; ValueError if the domain has none of that name.

        >>> from pyneural.pde import Box
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

        Equal volumes are equally likely. Simple shapes are images of the unit cube, so that lhs
        and sobol keep what they are for; of combined ones the points that are inside are taken.

        >>> from pyneural.pde import Disk
        >>> g = torch.Generator().manual_seed(0)
        >>> points = Disk(x=2, y=3, radius=1).sample(100, sampling="sobol", generator=g)
        >>> bool(((points - torch.tensor([2, 3])).norm(dim=1) <= 1).all())
        True
        """
        n, scheme, (dtype, device) = self._settings("sample", n, drawing)
        points = draw_interior(self.propose, self.units, self.share, n, *scheme)
        return rounded(points, self.names, [n] * self.dim, dtype, device, self.range, self.kind)

    def sample_initial(self, n: int, **drawing: Unpack[Drawing]) -> Tensor:
        """Draws n points at the first time, [n, D]; ValueError for a domain without t.

        >>> from pyneural.pde import Disk
        >>> Disk(x=0, y=0, radius=1).with_time(1, 2).sample_initial(2)[:, 0].tolist()
        [1.0, 1.0]
        """
        if not self.has_time:
            raise ValueError(
                f"{self.kind}.sample_initial: domain: expected a coordinate t, got {self}; "
                "add it: with_time(0, 1)"
            )
        return self.boundary(n, part=f"{TIME}_low", **drawing)[0]

    def sample_boundary(
        self, n: int, part: str | Sequence[str] | None = None, **drawing: Unpack[Drawing]
    ) -> Tensor:
        """Draws n points on the boundary in space, or on parts of it, uniform by length or area.

        Returns:
            [n, D].

        Raises:
            ValueError: a part that there is not, n below 1, or no boundary in space.

        >>> from pyneural.pde import Disk
        >>> annulus = Disk(x=0, y=0, radius=2) - Disk(x=0, y=0, radius=1, name="hole")
        >>> annulus.sample_boundary(4, part="hole").norm(dim=1)
        tensor([1.0000, 1.0000, 1.0000, 1.0000])
        """
        return self.boundary(n, part, **drawing)[0]

    def boundary(
        self, n: int, part: str | Sequence[str] | None = None, **drawing: Unpack[Drawing]
    ) -> tuple[Tensor, Tensor]:
        """As ``sample_boundary``, with the outward unit normals: points and normals, [n, D] each.

        A normal has a component for each coordinate, 0 for t and parameters.

        >>> from pyneural.pde import Disk
        >>> points, normals = Disk(x=0, y=0, radius=2).boundary(5)
        >>> torch.allclose(points, 2 * normals)
        True
        """
        n, scheme, (dtype, device) = self._settings("sample_boundary", n, drawing)
        patches = self.chosen(part, f"{self.kind}.sample_boundary")
        points, normals = draw_patches(patches, n, *scheme, self.evenly)
        spread = [n if len(column.unique()) > 1 else 1 for column in points[:2].T]
        points = rounded(points, self.names, spread, dtype, device, self.range, self.kind)
        return points, normals.to(points)

    def boundary_normals(self, points: Tensor, part: str | Sequence[str] | None = None) -> Tensor:
        """Outward unit normals at points on the boundary in space, or on parts of it, [N, D].

        Where the normal is ambiguous, as at a corner, it is that of the first piece that the point
        is on, in the order of ``parts``. A point is on the boundary if its distance is at most
        1e-6 of the extent of the shape, or 8 units in the last place of the largest coordinate.

        Raises:
            ValueError: points off the boundary, or a point cloud without normals there.

        >>> from pyneural.pde import Box
        >>> square = Box(x=(0, 1), y=(0, 1))
        >>> square.boundary_normals(torch.tensor([[0.5, 1.0], [0.0, 0.0]])).tolist()
        [[0.0, 1.0], [-1.0, 0.0]]
        """
        where = f"{self.kind}.boundary_normals"
        self.check(points, where=where)
        normals, on = self.normals_on(points, self.chosen(part, where))
        if not bool(on.all()):
            named = "the boundary" if part is None else f"the part {part!r}"
            raise ValueError(
                f"{where}: points: expected points on {named} of {self}, got {int((~on).sum())} of "
                f"{len(points)} off it, the first {self.described(points[~on][0])}; remove them or "
                "move them there"
            )
        if not bool(normals.isfinite().all()):
            raise ValueError(
                f"{where}: domain: expected one with outward normals, got {self}, which has none "
                "there; give them: PointCloud(..., normals=...)"
            )
        return normals

    def boundary_measure(self, part: str | Sequence[str] | None = None) -> float | None:
        """Length, area... of the boundary in space or of parts; None where not known exactly.

        >>> from pyneural.pde import Box
        >>> notched = Box(x=(0, 2), y=(0, 2)) - Box(x=(1, 2), y=(1, 2))
        >>> round(notched.boundary_measure(), 9), round(notched.boundary_measure("x_high"), 9)
        (8.0, 1.0)
        """
        sizes = [patch.measure for patch in self.chosen(part, f"{self.kind}.boundary_measure")]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def contains(self, x: Tensor) -> Tensor:
        """Which points [N, D] lie in the closed domain, up to rounding in their dtype, [N] bool.

        >>> from pyneural.pde import Disk
        >>> Disk(x=0, y=0, radius=1).contains(torch.tensor([[0.6, 0.8], [1.0, 1.0]])).tolist()
        [True, False]
        """
        check_tensor(f"{self.kind}.contains: x", x)
        slack = ROUNDING * torch.finfo(x.dtype).eps * self._largest
        return self.signed_distance(x.detach().to("cpu", torch.float64)).le(slack).to(x.device)

    def accepts(self, x: Tensor) -> Tensor:
        """Which points that a user gives are in the domain or on its boundary, [N] bool.

        As ``contains``, but a point may be outside by as much as one on the boundary may be off it;
        see ``boundary_normals``.
        """
        slack = tolerance(*spread(torch.stack(self.range)), torch.finfo(x.dtype).eps)
        return self.signed_distance(x.detach().to("cpu", torch.float64)).le(slack).to(x.device)

    def check(self, x: Tensor, argument: str = "points", where: str | None = None) -> None:
        """Raises ValueError unless x is [N, D] floating, N >= 1, finite and ``accepts`` takes it.

        >>> from pyneural.pde import Box
        >>> Box(x=(0, 1)).check(torch.tensor([[2.0]]))
        Traceback (most recent call last):
        ValueError: Box: points: expected points in Box(x=(0.0, 1.0)), got 1 of 1 outside, \
the first x=2; remove them or widen the domain
        """
        where = where or self.kind
        check_tensor(f"{where}: {argument}", x)
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
        outside = ~self.accepts(x)
        if bool(outside.any()):
            raise ValueError(
                f"{where}: {argument}: expected points in {self}, got {int(outside.sum())} of "
                f"{x.shape[0]} outside, the first {self.described(x[outside][0])}; "
                "remove them or widen the domain"
            )

    def grid(
        self,
        *counts: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Points of a regular grid of the bounding box, bounds included, that are in the domain.

        Args:
            counts: number of grid points along each coordinate; the first one varies slowest.
            dtype: of the points; torch's default one by default.
            device: of the points.

        Returns:
            [M, D], M at most the product of the counts.

        >>> from pyneural.pde import Disk
        >>> Disk(x=0, y=0, radius=1).grid(3, 3).tolist()
        [[-1.0, 0.0], [0.0, -1.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
        """
        if len(counts) != self.dim or min(counts) < 1:
            raise ValueError(
                f"{self.kind}.grid: counts: expected {self.dim} counts >= 1 "
                f"({', '.join(self.names)}), got {counts}; give one per coordinate"
            )
        ends = zip(self.low.tolist(), self.high.tolist(), counts, strict=True)
        axes = [torch.linspace(*each, dtype=torch.float64) for each in ends]
        points = torch.cartesian_prod(*axes).view(-1, self.dim)
        points = points[self.contains(points)]
        return rounded(points, self.names, counts, dtype, device, self.range, self.kind)

    def chosen(self, part: str | Sequence[str] | None, where: str) -> tuple[Patch, ...]:
        """Pieces of parts of the boundary; ValueError where there is none of that name."""
        if part is None:
            if not self.patches:
                raise ValueError(
                    f"{where}: domain: expected a spatial coordinate with a boundary, got {self}; "
                    "add one"
                )
            return self.patches
        wanted = (part,) if isinstance(part, str) else tuple(part)
        patches = (*self.patches, *self.time_patches)
        for name in wanted or ("",):
            if not any(name in patch.labels for patch in patches):
                known = dict.fromkeys(label for patch in patches for label in patch.labels)
                remedy = f"name the boundary of a shape by named({name or 'wall'!r})"
                if name.rsplit("_", 1)[0] in self.parameters:
                    remedy = "a parameter of the problem has no boundary"
                raise ValueError(
                    f"{where}: part: expected some of {', '.join(known) or 'none'}, got {name!r}; "
                    f"{remedy}"
                )
        return tuple(patch for patch in patches if set(wanted) & set(patch.labels))

    def normals_on(self, points: Tensor, patches: Sequence[Patch]) -> tuple[Tensor, Tensor]:
        """Outward normals [N, D] of the first piece that each point is on, and whether one is."""
        x = points.detach().to("cpu", torch.float64)
        eps = torch.finfo(points.dtype).eps
        normals, missing = torch.zeros_like(x), torch.ones(len(x), dtype=torch.bool)
        for patch in patches:
            rows = missing.nonzero()[:, 0]
            if len(rows) == 0:
                break
            rows = rows[patch.holds(x[rows], eps)]
            normals[rows] = patch.normals(x[rows])
            missing[rows] = False
        return normals.to(points), (~missing).to(points.device)

    def described(self, point: Tensor) -> str:
        """A point [D] in words."""
        pairs = zip(self.names, point.tolist(), strict=True)
        return ", ".join(f"{name}={value:g}" for name, value in pairs)

    @property
    def _largest(self) -> float:
        return float(torch.maximum(self.low.abs(), self.high.abs()).max())

    def _settings(
        self, method: str, n: int, drawing: Drawing
    ) -> tuple[int, tuple[str, torch.Generator | None], tuple]:
        """n, (sampling, generator), (dtype, device)."""
        n = whole(f"{self.kind}.{method}: n", n)
        unknown = set(drawing) - Drawing.__optional_keys__
        if unknown:
            raise TypeError(
                f"{self.kind}.{method}: unexpected keyword {', '.join(sorted(unknown))}; "
                f"use some of {', '.join(sorted(Drawing.__optional_keys__))}"
            )
        if n < 1:
            raise ValueError(
                f"{self.kind}.{method}: n: expected at least 1 point, got {n}; ask for more"
            )
        scheme = drawing.get("sampling", "uniform"), drawing.get("generator")
        return n, scheme, (drawing.get("dtype"), drawing.get("device"))
