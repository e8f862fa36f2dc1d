"""A domain that is known by points alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from pyneural.pde.domains.algebra import Shape
from pyneural.pde.domains.drawing import Drawing, rounded
from pyneural.pde.domains.patches import PAIRS, Patch, spread, tolerance
from pyneural.pde.domains.simplicial import coordinates, numbers


class PointCloud(Shape):
    """Points inside a domain and on its boundary, as they come from measurements or a mesher.

    Points are taken from those that were given, each at most once in ``sample``; with time or
    parameters they may come again, at other times. Every point counts the same, whatever the
    sampling.

    Whether another point is inside is told by the nearest point of the boundary and its normal,
    which is right up to the distance between these; without normals, only the points themselves
    are inside. Clouds are not combined with other shapes by ``|``, ``-`` and ``&``.

    Args:
        points: in the interior, [N, D].
        boundary: on the boundary, [B, D]; or several such arrays by the names of their parts.
        normals: outward normals there, of any length, likewise.
        names: of the D coordinates.

    Raises:
        ValueError: shapes that do not match, normals of length 0, numbers that are not finite.

    >>> cloud = PointCloud([[0.5], [0.2], [0.7]], {"left": [[0.0]]}, {"left": [[-1.0]]}, names="x")
    >>> cloud.sample(3).sort(0).values.T, cloud.boundary_normals(torch.tensor([[0.0]]))
    (tensor([[0.2000, 0.5000, 0.7000]]), tensor([[-1.]]))
    """

    kind = "PointCloud"
    units = 1

    def __init__(
        self,
        points: Any,
        boundary: Any = None,
        normals: Any = None,
        *,
        names: str | Sequence[str],
    ) -> None:
        given = torch.from_numpy(numbers("PointCloud", "points", points, len(tuple(names))))
        self.names = self.spatial = coordinates("PointCloud", names, (given.shape[1],))
        self.points, self.limit, self.bulk = given, len(given), 1.0
        parts = {} if boundary is None else _by_part("boundary", boundary)
        directions = {} if normals is None else _by_part("normals", normals)
        if directions and directions.keys() != parts.keys():
            raise ValueError(
                "PointCloud: normals: expected those of the same parts as boundary "
                f"({', '.join(map(repr, parts)) or 'none'}), got {', '.join(map(repr, directions))}"
            )
        self.scattered = tuple(
            Scattered(part, self.dim, place, directions.get(part)) for part, place in parts.items()
        )
        self.patches = self.scattered
        self.has_normals = bool(directions)
        every = torch.cat([given, *(patch.points for patch in self.scattered)])
        self.every, (self.low, self.high) = every, (every.amin(0), every.amax(0))

    def __repr__(self) -> str:
        return f"PointCloud({len(self.points)} points)"

    def numbers(self) -> list[Tensor]:
        """The points and the normals."""
        return [self.every, *(patch.directions for patch in self.scattered)]

    def propose(self, unit: Tensor) -> tuple[Tensor, None]:
        """The points that the numbers fall on."""
        return self.points[(unit[:, 0] * len(self.points)).long()], None

    def sample(self, n: int, **drawing: Unpack[Drawing]) -> Tensor:
        """Takes n different points, [n, D]; ValueError where there are fewer.

        >>> PointCloud([[1.0, 2.0]], names="xy").sample(1).tolist()
        [[1.0, 2.0]]
        """
        n, (_, generator), (dtype, device) = self._settings("sample", n, drawing)
        if n > len(self.points):
            raise ValueError(
                f"PointCloud.sample: n: expected at most {len(self.points):,}, as there are "
                f"points, got {n:,}; give more points or ask for fewer"
            )
        chosen = self.points[torch.randperm(len(self.points), generator=generator)[:n]]
        return rounded(chosen, self.names, [1] * self.dim, dtype, device, self.range, self.kind)

    def boundary(
        self, n: int, part: str | Sequence[str] | None = None, **drawing: Unpack[Drawing]
    ) -> tuple[Tensor, Tensor]:
        """Takes n different points of the boundary, with normals (nan where none were given)."""
        n, (_, generator), (dtype, device) = self._settings("sample_boundary", n, drawing)
        chosen = self.chosen(part, "PointCloud.sample_boundary")
        patches = [patch for patch in chosen if isinstance(patch, Scattered)]
        points = torch.cat([patch.points for patch in patches])
        normals, known = torch.cat([patch.directions for patch in patches]), len(points)
        if n > known:
            raise ValueError(
                f"PointCloud.sample_boundary: n: expected at most {known:,}, as there are points, "
                f"got {n:,}; give more points or ask for fewer"
            )
        order = torch.randperm(known, generator=generator)[:n]
        points = rounded(
            points[order], self.names, [1] * self.dim, dtype, device, self.range, self.kind
        )
        return points, normals[order].to(points)

    def inside(self, x: Tensor) -> Tensor:
        """By the nearest point of the boundary and its normal."""
        return self.signed_distance(x) <= 0

    def contains(self, x: Tensor) -> Tensor:
        """Which points [N, D] are of the cloud or, by its normals, inside; [N] bool."""
        slack = tolerance(*spread(self.every), torch.finfo(x.dtype).eps)
        own = _nearest(x.detach().to("cpu", torch.float64), self.every)[0] <= slack
        own = own.to(x.device)
        return own | super().contains(x) if self.has_normals else own

    def accepts(self, x: Tensor) -> Tensor:
        """As ``contains``."""
        return self.contains(x)

    def signed_distance(self, x: Tensor) -> Tensor:
        """Height above the plane through the nearest point of the boundary; needs normals."""
        if not self.has_normals:
            raise ValueError(
                f"PointCloud.signed_distance: expected a cloud with normals, got {self}; give "
                "boundary and normals"
            )
        places = torch.cat([patch.points for patch in self.scattered])
        directions = torch.cat([patch.directions for patch in self.scattered])
        which = _nearest(x.detach(), places.to(x))[1]
        return ((x - places.to(x)[which]) * directions.to(x)[which]).sum(1)


class Scattered(Patch):
    """Points of a part of a boundary."""

    units = 1

    def __init__(self, name: str, dim: int, points: Any, directions: Any) -> None:
        where = "PointCloud"
        self.dim, self.labels = dim, (name,) if name else ()
        self.points = torch.from_numpy(numbers(where, "boundary", points, dim))
        self.size = float(len(self.points))
        self.directions = torch.full_like(self.points, torch.nan)
        self.extent, self.largest = spread(self.points)
        if directions is None:
            return
        given = torch.from_numpy(numbers(where, "normals", directions, dim))
        if len(given) != len(self.points) or bool((given.norm(dim=1) == 0).any()):
            raise ValueError(
                f"{where}: normals: expected a direction for each of the {len(self.points)} points "
                f"of the boundary, got {list(given.shape)}, "
                f"{int((given.norm(dim=1) == 0).sum())} of length 0; correct them"
            )
        self.directions = torch.nn.functional.normalize(given, dim=1)

    @property
    def measure(self) -> None:
        """Not known."""
        return None

    def draw(self, unit: Tensor) -> tuple[Tensor, Tensor, None]:
        """The points that the numbers fall on, with normals of nan where none are known."""
        which = (unit[:, 0] * len(self.points)).long()
        return self.points[which], self.directions[which], None

    def distance(self, x: Tensor) -> Tensor:
        """To the nearest of the points."""
        return _nearest(x, self.points.to(x))[0]

    def normals(self, x: Tensor) -> Tensor:
        """Of the nearest of the points; nan where none were given."""
        return self.directions.to(x)[_nearest(x, self.points.to(x))[1]]


def _by_part(argument: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        return {"": values}
    if not values:
        raise ValueError(f"PointCloud: {argument}: expected at least one part, got none; name one")
    return values


def _nearest(x: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Distances to the nearest of some points and which these are, [N] each."""
    size = max(PAIRS // len(points), 1)
    parts = [
        torch.cdist(chunk, points, compute_mode="donot_use_mm_for_euclid_dist").min(1)
        for chunk in x.split(size)
    ]
    return torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])
