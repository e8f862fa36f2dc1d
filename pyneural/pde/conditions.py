"""Initial, boundary and data conditions as terms of a loss (soft conditions)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from pyneural.errors import check_argument, whole
from pyneural.ops import GroupedSquare, ResidualProgram, record_residual
from pyneural.ops.caching import cached
from pyneural.pde.condition import Condition, Term
from pyneural.pde.coordinates import TIME, given_points
from pyneural.pde.domains import Domain, Drawing
from pyneural.pde.faces import Part, check_pairs, named_part, place
from pyneural.pde.language.lowering import root_of
from pyneural.pde.language.names import HIGHEST
from pyneural.pde.network import Network, mean_square_of, outputs_of, with_jets
from pyneural.pde.prescribed import Value, check_paired, prescribed


def _order(where: str, order: int) -> int:
    """The order of a derivative, if it is one that jets have."""
    order = whole(f"{where}: order", order)
    check_argument(
        0 <= order <= HIGHEST, f"{where}: order", f"0 to {HIGHEST}", order,
        "write 0 for the value, 1 for the first derivative",
    )  # fmt: skip
    return order


class Data(Condition):
    """Measured points: u(points) = values.

    Args:
        points: [N, D], a tensor or an array, the columns in the order of the domain; those of a
            frame are taken by name.
        values: [N] or [N, O]; those that another network gave do not train it. With a domain also a
            function of coordinates by name.
        domain: if given, the points are checked to lie in it, and the network to have its names.
        output: column of the network's output that was measured; None for all.
        dtype: of the points and values; by default that of the points.
        device: of the points and values; by default that of the points.

    Raises:
        ValueError: no points, shapes that do not match, points outside the domain, values that
            are not finite.

    >>> Data(torch.rand(4, 2), torch.rand(4)).loss(lambda x: x[:, :1]).shape
    torch.Size([])
    """

    def __init__(
        self,
        points: Any,
        values: Any,
        *,
        domain: Domain | None = None,
        output: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        names = None if domain is None else domain.names
        points = given_points("Data: points", points, names)
        if domain is not None:
            domain.check(points, where="Data")
        kind: Any = dtype or getattr(points, "dtype", type(points).__name__)
        good, remedy = getattr(kind, "is_floating_point", False), "give dtype=torch.float32"
        check_argument(good, "Data: points", "floating-point numbers [N, D]", kind, remedy)
        points = points.to(device=device, dtype=dtype or points.dtype)
        super().__init__(points, prescribed(values, names or (), points, "Data"), output, names)


class Initial(Condition):
    """Initial condition: d^order u / dt^order = value at the first time of the domain.

    Args:
        domain: with a coordinate t.
        value: a number, with given points a tensor [N] or [N, O], or a function of coordinates by
            name (``lambda x: -torch.sin(math.pi * x)``) that returns one; it may have unknowns.
        points: how many to draw, or the points themselves, [N, D].
        order: 0 for u, 1 for u_t.
        output: column of the network's output; None for all.
        drawing: ``sampling``, ``generator``, ``dtype``, ``device`` of drawn points; see ``Domain``.

    Raises:
        ValueError: a domain without t, no points, points off the initial slice, shapes.

    >>> from pyneural.pde import Box
    >>> start = Initial(Box(t=(0, 1), x=(-1, 1)), lambda x: x**2, 10)
    >>> torch.equal(start.target, start.points[:, 1:] ** 2)
    True
    """

    def __init__(
        self,
        domain: Domain,
        value: Value,
        points: int | Tensor,
        *,
        order: int = 0,
        output: int | None = None,
        **drawing: Unpack[Drawing],
    ) -> None:
        if not domain.has_time:
            raise ValueError(
                f"Initial: domain: expected a coordinate t, got {domain}; add t=(first, last)"
            )
        check_paired(value, points, "Initial")
        placed, _ = place(domain, [f"{TIME}_low"], points, "Initial", drawing)
        target = prescribed(value, domain.names, placed, "Initial")
        super().__init__(placed, target, output, domain.names)
        self.same_for_all = isinstance(value, (int, float))
        self.derivative = (domain.names.index(TIME),) * _order("Initial", order)

    def terms(self) -> list[Term]:
        """The value or a time derivative."""
        return [(self.derivative, None)]


class Dirichlet(Condition):
    """Boundary condition on the value: u = value on the boundary in space, or on a part of it.

    ``value``, ``output`` and ``drawing`` are those of ``Initial``.

    Args:
        domain: any one of ``pyneural.pde.domains``.
        points: how many to draw, or the points, [N, D], which must be on the boundary: at most
            1e-6 of the domain's largest extent from it. On a Box they are shared evenly among the
            faces, else by length or area.
        part: name of a part of the boundary, or several names; None for all of it.
        coordinate: instead of a part, the coordinate whose bounds are meant; None for all but t.
        side: ``"low"``, ``"high"`` or ``"both"``.

    Raises:
        ValueError: an unknown part, coordinate or side, no points, points off the boundary, shapes.

    >>> from pyneural.pde import Box, Disk
    >>> walls = Dirichlet(Box(t=(0, 1), x=(-1, 1)), 0.0, 4)
    >>> walls.points[:, 1].tolist()
    [-1.0, -1.0, 1.0, 1.0]
    >>> annulus = Disk(x=0, y=0, radius=2) - Disk(x=0, y=0, radius=1, name="hole")
    >>> hot = Dirichlet(annulus, 1.0, 5, part="hole")
    >>> torch.allclose(hot.points.norm(dim=1), torch.ones(5))
    True
    """

    normals: Tensor
    needs_normals = False

    def __init__(
        self,
        domain: Domain,
        value: Value,
        points: int | Tensor,
        *,
        part: Part = None,
        coordinate: str | None = None,
        side: str = "both",
        output: int | None = None,
        **drawing: Unpack[Drawing],
    ) -> None:
        where = type(self).__name__
        chosen = named_part(domain, part, coordinate, side, where)
        check_paired(value, points, where)
        placed, normals = place(domain, chosen, points, where, drawing)
        if self.needs_normals and not bool(torch.isfinite(normals).all()):
            raise ValueError(
                f"{where}: domain: expected one with outward normals, got {domain}, which has none "
                "there; give them: PointCloud(..., normals=...)"
            )
        target = prescribed(value, domain.names, placed, where)
        super().__init__(placed, target, output, domain.names)
        self.same_for_all = isinstance(value, (int, float))
        self.axes = [d for d in range(domain.dim) if bool((normals[:, d] != 0).any())]
        self.register_buffer("normals", normals, persistent=False)  # [N, D]


class Neumann(Dirichlet):
    """Boundary condition on the derivative along the outward normal: du/dn = value.

    At the high bound of x this is u_x = value, at the low bound -u_x = value; on a curved boundary
    every component of the normal counts. Where it is ambiguous, as at a corner, it is that of the
    first part. Arguments and errors are those of ``Dirichlet``.

    >>> from pyneural.nn import MLP
    >>> from pyneural.pde import Box
    >>> insulated = Neumann(Box(t=(0, 1), x=(-1, 1)), 0.0, 4)
    >>> insulated.residuals(MLP(2, [8], 1))[0].shape
    torch.Size([4, 1])
    """

    needs_normals = True

    def terms(self) -> list[Term]:
        """The outward normal derivative."""
        return [((axis,), self.normals[:, axis]) for axis in self.axes]


class Periodic(Condition):
    """Periodic boundary: u and its derivatives in a coordinate match at both bounds.

    ``output`` and ``drawing`` are those of ``Initial``.

    Args:
        domain: the coordinate's bounds are one period apart, and each point on the face at one of
            them has its partner on the other.
        coordinate: name of the periodic coordinate.
        points: how many pairs to draw, or points [N, D] on either face.
        order: highest derivative that must match; 0 for the value alone.

    Raises:
        ValueError: an unknown coordinate, no points, points off the faces, faces that do not match.

    >>> from pyneural.nn import MLP
    >>> from pyneural.pde import Box
    >>> ring = Periodic(Box(t=(0, 1), x=(-1, 1)), "x", 5)
    >>> [part.shape for part in ring.residuals(MLP(2, [8], 1))]
    [torch.Size([5, 1]), torch.Size([5, 1])]
    """

    opposite: Tensor

    def __init__(
        self,
        domain: Domain,
        coordinate: str,
        points: int | Tensor,
        *,
        order: int = 1,
        output: int | None = None,
        **drawing: Unpack[Drawing],
    ) -> None:
        column = domain.index(coordinate, "Periodic")
        faces = named_part(domain, None, coordinate, "both", "Periodic")
        points = given_points("Periodic: points", points, domain.names)
        drawn_on = faces if isinstance(points, Tensor) else faces[:1]
        placed, _ = place(domain, drawn_on, points, "Periodic", drawing)
        low, high = placed.clone(), placed.clone()
        low[:, column], high[:, column] = domain.low[column], domain.high[column]
        check_pairs(domain, coordinate, low, high)
        super().__init__(low, torch.zeros_like(low[:, :1]), output, domain.names)
        self.same_for_all = True
        self.register_buffer("opposite", high, persistent=False)
        order = _order("Periodic", order)
        self.derivatives = tuple((column,) * k for k in range(1, order + 1))

    def terms(self) -> list[Term]:
        """The value and derivatives."""
        return [((), None), *((derivative, None) for derivative in self.derivatives)]

    def residuals(self, network: Network) -> list[Tensor]:
        """Value and derivatives at the high bound minus those at the low one, [N, O] each."""
        both = torch.cat([self.points, self.opposite])
        network = with_jets(network)
        parts = network.jet(both, self.derivatives) if self.derivatives else (network(both),)
        halves = [self.select(part).chunk(2) for part in parts]
        return [high - low for low, high in halves]

    def mean_square(self, network: Network, weights: Tensor | None = None) -> GroupedSquare | None:
        """What ``loss`` is the value of, for second-order methods: high and low side by side."""
        self.check(network)
        network = with_jets(network)
        outputs = outputs_of(network, self.points)
        if not hasattr(network, "jet_loss") or outputs is None:
            return None
        chosen = self._chosen(outputs)
        signs = self.points.new_tensor([1.0, -1.0]).expand(self.count, 2)
        root = 1.0 if weights is None else root_of(weights, self.points)[:, None]
        columns = (root * signs).reshape(1, -1)
        both = torch.stack([self.opposite, self.points], 1).flatten(0, 1)
        program = _program(1 + len(self.derivatives), chosen)
        square = mean_square_of(network, both, self.derivatives, program, None, columns)
        return None if square is None else GroupedSquare(square, 2)


@cached
def _program(channels: int, outputs: tuple[int, ...]) -> ResidualProgram:
    """The value and derivatives of each output, times a column."""

    def residual(jet: Any, x: Any, c: Any, columns: Any) -> tuple[Any, ...]:
        return tuple(columns[0] * jet[k, o] for k in range(channels) for o in outputs)

    return record_residual(residual)
