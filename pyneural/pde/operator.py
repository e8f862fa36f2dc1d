"""A condition that is any residual at given points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from typing_extensions import Unpack

from pyneural.ops import GroupedSquare, MeanSquare
from pyneural.pde.condition import Condition
from pyneural.pde.coordinates import arguments_of, check_names, given_points
from pyneural.pde.domains import Domain, Drawing
from pyneural.pde.equation import Equation
from pyneural.pde.faces import Part, named_part, place
from pyneural.pde.language.expression import plain
from pyneural.pde.language.lowering import root_of
from pyneural.pde.language.names import normal_names
from pyneural.pde.language.normals import Normals
from pyneural.pde.language.residual import Residual
from pyneural.pde.language.sites import MAIN, Site
from pyneural.pde.network import Network
from pyneural.pde.prescribed import Value, check_paired, prescribed
from pyneural.pde.unknowns import adopt_unknowns

_WHERE = "Operator"


class Operator(Condition):
    r"""A condition that is any residual at given points.

        loss = sum_e (1 / N) sum_n w_n (r_e(x_n) - value_n)^2
        with quadrature: sum_e (1 / M) sum_m w_m (sum_q quadrature_mq r_e(x_mq) - value_m)^2

    The residual is written as that of an ``Equation``: a function whose arguments are outputs and
    inputs by name, with derivatives as attributes, of expressions too, and with parameters to
    learn in it. On a boundary ``u.n`` is the outward normal derivative and ``nx``, ``ny`` are the
    components of the unit normal (``n_radius`` for a longer name):

        Operator(lambda u: u.n + h * (u - 1), 100, domain=rod, part="x_high")            # Robin
        Operator(lambda u: u.xx, 20, domain=beam, part="x_high")                         # no moment
        Operator(lambda u, v, nx, ny: 2 * u.x * nx + (u.y + v.x) * ny, 100, ...)         # no stress
        Operator(lambda u, v: (u - v, u.n - 5 * v.n), points, normals=..., outputs="uv") # interface
        Operator(lambda u: u.x, sensors, inputs="tx", value=measured_slopes)
        Operator(lambda u: u, points, inputs="tx", quadrature=weights, value=mass)       # integrals
        Operator(lambda u, right: u.x - right.u.x, left, inputs="x", pairs={"right": other_end})

    Further points, one for each or [N, Q, D] for a sum in the residual, come by ``pairs``; their
    name is an argument with outputs and inputs as attributes, of which Q values are [N, Q]:

        lambda u, x, s: u.x - (weights * torch.exp(s.x - x[:, None]) * s.u).sum(1)

    Args:
        residual: an ``Equation``, or a function that returns one residual or a tuple of them.
        points: [N, D]; how many to draw on the boundary of the domain; with quadrature [Q, D] for
            one integral or [M, Q, D] for M of them.
        domain: gives the names of the inputs, the points and their normals, and says which inputs
            are parameters.
        part: name of the part of the boundary that the points are on; None for all of it.
        value: what the residual equals, as in ``Initial``; with quadrature a number, [M] or a
            function of the coordinates that an integral has in common.
        inputs: names of the columns of the points, where there is no domain and no equation.
        outputs: names of the columns of the network's output; those of the equation, or the one
            argument that is no other name.
        normals: unit normals [N, D], where they are not those of the domain.
        pairs: further points by name, [N, D] or [N, Q, D].
        quadrature: weights [Q] or [M, Q] of the sum over the points of each integral.
        drawing: ``sampling``, ``generator``, ``dtype``, ``device`` of drawn points.

    Raises:
        ValueError: names, shapes, points or unknowns that do not fit; a residual that asks for
            normals where there are none.

    >>> from pyneural import nn, pde
    >>> rod = pde.Box(t=(0, 1), x=(0, 1))
    >>> robin = Operator(lambda u: u.n + 2 * (u - 1), 10, domain=rod, part="x_high")
    >>> robin.loss(nn.MLP(2, [8], 1)).shape
    torch.Size([])
    """

    nodes: Tensor
    normals: Tensor | None
    quadrature: Tensor

    def __init__(
        self,
        residual: Equation | Callable[..., Any],
        points: int | Tensor,
        *,
        domain: Domain | None = None,
        part: Part = None,
        value: Value = 0.0,
        inputs: str | Sequence[str] | None = None,
        outputs: str | Sequence[str] | None = None,
        normals: Tensor | None = None,
        pairs: Mapping[str, Tensor] | None = None,
        quadrature: Tensor | None = None,
        **drawing: Unpack[Drawing],
    ) -> None:
        equation = residual if isinstance(residual, Equation) else None
        function = residual if equation is None else equation.residual
        names = _inputs(equation, domain, inputs)
        check_paired(value, points, _WHERE)
        shape = None
        points = given_points(f"{_WHERE}: points", points, names)
        normals, quadrature = (given_points(_WHERE, each, names) for each in (normals, quadrature))
        pairs = {
            name: given_points(f"{_WHERE}: pairs", each, names)
            for name, each in (pairs or {}).items()
        }
        if isinstance(points, Tensor):
            points = points.detach()
            points = points.to(drawing.get("device"), drawing.get("dtype") or points.dtype)
            shape = _shape(points, quadrature, len(names))
            nodes = points.reshape(-1, len(names))
            if domain is not None:
                found = _normals(domain, nodes, part, drawing)
                normals = found if normals is None else normals
        else:
            _expect(quadrature is None, "points", "those of the quadrature", points, "give them")
            if domain is None:
                raise ValueError(f"{_WHERE}: domain: expected one to draw points on; give domain=")
            chosen = named_part(domain, part, None, "both", _WHERE)
            nodes, found = place(domain, chosen, points, _WHERE, drawing)
            normals = _known(found) if normals is None else normals
        firsts = nodes if shape is None else nodes.view(*shape, -1)[:, 0]
        if shape is not None and callable(value):
            _check_common(value, names, nodes.view(*shape, -1))
        super().__init__(firsts, prescribed(value, names, firsts, _WHERE), None, names)
        self._has_value = not (isinstance(value, (int, float)) and value == 0)
        known = (*names, *normal_names(names), *pairs)
        named = (equation.outputs if equation is not None else outputs) or ()
        arguments = arguments_of(function, names, (*known, *named))
        self.form = Residual(
            _WHERE,
            arguments,
            names,
            _outputs(equation, outputs, [a for a in arguments if a not in known], known),
            _parameters(equation, domain),
        )
        self.form.remedy = "name all its columns by outputs=, or give the network those"
        self.equation = equation
        self.function: Callable[..., Any] | None = None if equation is not None else residual
        self.shape = shape
        self.register_buffer("nodes", nodes, persistent=False)
        for name, others in pairs.items():
            good = others.dim() in (2, 3) and others.shape[:: others.dim() - 1] == nodes.shape
            expected = f"[{len(nodes)}, {len(names)}] or [{len(nodes)}, Q, {len(names)}]"
            _expect(good, f"pairs[{name!r}]", expected, list(others.shape), "one row per point")
            self.register_buffer(f"pair_{name}", others.detach().to(nodes), persistent=False)
        self.pairs = tuple(pairs)
        weights = quadrature
        if quadrature is not None and shape is not None:
            weights = quadrature.detach().to(nodes).expand(shape)
        self.register_buffer("quadrature", weights, persistent=False)
        if normals is not None:
            good = normals.shape == nodes.shape
            _expect(good, "normals", list(nodes.shape), list(normals.shape), "one row per point")
            normals = normals.detach().to(nodes)
        self.register_buffer("normals", normals, persistent=False)
        self._axes = () if normals is None else Normals.of(normals).axes
        self._adopt()

    @property
    def count(self) -> int:
        """Number of squares that the loss is the mean of."""
        return len(self.points)

    def recorded(self) -> str:
        """The instructions that the residual consists of, as text."""
        return self.form.recorded(self._residual, self._sites())

    def residuals(self, network: Network) -> list[Tensor]:
        """The residuals minus the value, [N, 1] each; with quadrature [M, 1]."""
        found = self.form.evaluate(self._residual, network, self._sites())
        if self.shape is None:
            return [each[:, None] for each in found]
        target = self.target
        return [(self.quadrature * each).sum(1, keepdim=True) - target for each in found]

    def eager_loss(self, network: Network, points: Tensor, weights: Tensor | None) -> Tensor:
        """Mean over the points or integrals of the squared residuals, summed over these, []."""
        self.check(network)
        if self.shape is not None:
            return super().eager_loss(network, points, weights)
        return self.form.loss(self._residual, network, self._sites(), weights)

    def mean_square(
        self, network: Network, weights: Tensor | None = None
    ) -> MeanSquare | GroupedSquare | None:
        """What ``loss`` is the value of, for second-order methods; None where no kernel knows it.

        So it is with pairs, and for integrals that are to have an unknown value.
        """
        self.check(network)
        if self.shape is None:
            return self.form.mean_square(self._residual, network, self._sites(), weights)
        root = self.quadrature.new_ones(self.count)
        root = root if weights is None else root_of(weights, root)
        factors = (self.quadrature * root[:, None]).flatten()
        if self.target.requires_grad:
            return None
        try:
            square = self.form.mean_square(self._residual, network, self._sites(), factors=factors)
        except torch.OutOfMemoryError:
            raise
        except (ValueError, RuntimeError):  # it reads its points as [M, Q], or fails there, too
            return None
        if square is None:
            return None
        return GroupedSquare(square, self.shape[1], (root[:, None] * self.target).T)

    def extra_repr(self) -> str:
        """Number of points or integrals."""
        if self.shape is None:
            return super().extra_repr()
        return f"{self.shape[0]} integrals of {self.shape[1]} points"

    def _residual(self, **values: Any) -> Any:
        """The residuals less the value, which stands for an integral where there is one."""
        function = self.function or cast(Equation, self.equation).residual
        result = function(**values)
        if self.shape is not None:
            return result
        several = result if isinstance(result, (tuple, list)) else (result,)
        if not self._has_value:
            return tuple(several)
        targets = self.target.unbind(1)
        if len(targets) == 1:
            targets = targets * len(several)
        expected = f"1 or {len(several)} columns, one for each residual"
        _expect(len(targets) == len(several), "value", expected, len(targets), "reshape it")
        return tuple(r - v for r, v in zip(several, targets, strict=True))

    def _sites(self) -> dict[str, Site]:
        normals = None if self.normals is None else Normals(self.normals, self._axes)
        sites = {MAIN: Site(self.nodes, normals, self.shape)}
        for name in self.pairs:
            others = getattr(self, f"pair_{name}")
            shape = others.shape[:2] if others.dim() == 3 else None
            sites[name] = Site(others.reshape(-1, others.shape[-1]), None, shape)
        return sites

    def _adopt(self) -> None:
        """Makes the unknowns of the residual those of the condition."""
        _, values, dummies = self.form.example(self._residual, self.nodes[:1], self._sites())
        if self.equation is not None:
            return
        known = {id(dummy) for dummy in dummies}
        for value in map(plain, values):
            if isinstance(value, Tensor):
                adopt_unknowns(self, self.function, value, f"{_WHERE}: residual", known)


def _expect(good: bool, argument: str, expected: Any, got: Any, remedy: str) -> None:
    if not good:
        raise ValueError(f"{_WHERE}: {argument}: expected {expected}, got {got}; {remedy}")


def _inputs(
    equation: Equation | None, domain: Domain | None, inputs: str | Sequence[str] | None
) -> tuple[str, ...]:
    """Names of the columns of the points, from whatever names them."""
    given = [tuple(inputs)] if inputs is not None else []
    given += [tuple(equation.inputs)] if equation is not None else []
    given += [domain.names] if domain is not None else []
    remedy = "give domain=, or inputs= as the names of the columns of the points"
    _expect(bool(given), "inputs", "names", "none", remedy)
    for other in given[1:]:
        check_names(f"{_WHERE}: inputs", given[0], other, "another part")
    return given[0]


def _parameters(equation: Equation | None, domain: Domain | None) -> tuple[str, ...]:
    """Names of the inputs that are parameters, no part of a Laplacian."""
    known = () if domain is None else tuple(domain.parameters)
    if equation is None:
        return known
    declared = tuple(equation.parameter_inputs)
    remedy = "declare the same parameters in both: parameter_inputs, and with_parameters(...)"
    good = domain is None or set(declared) == set(known)
    got, expected = ", ".join(declared) or "none", ", ".join(known) or "none"
    _expect(good, "residual: parameter_inputs", f"{expected}, as the domain has", got, remedy)
    return declared


def _normals(domain: Domain, points: Tensor, part: Part, drawing: Drawing) -> Tensor | None:
    """Normals at given points; None where some are not on the boundary, unless a part is named."""
    domain.check(points, where=_WHERE)
    if part is not None:
        chosen = named_part(domain, part, None, "both", _WHERE)
        return _known(place(domain, chosen, points, _WHERE, drawing)[1])
    normals, on = domain.normals_on(points, domain.patches)
    return _known(normals) if bool(on.all()) else None


def _known(normals: Tensor) -> Tensor | None:
    """Normals; None where a domain has none, as a point cloud without them."""
    return normals if bool(normals.isfinite().all()) else None


def _outputs(
    equation: Equation | None,
    outputs: str | Sequence[str] | None,
    others: Sequence[str],
    known: Sequence[str],
) -> tuple[str, ...]:
    """Names of the columns of the network's output; ``others`` are arguments that may be some."""
    if outputs is None and equation is not None:
        return tuple(equation.outputs)
    if outputs is None:
        got = ", ".join(others) or "none"
        remedy = "write outputs=, the names of all columns of the network's output in order"
        _expect(len(others) < 2, "residual", "one output as argument, or outputs=", got, remedy)
        return tuple(others) or ("u",)
    names = tuple(outputs)
    doubled = sorted({name for name in names if name in known or names.count(name) > 1})
    remedy = "rename them"
    _expect(not doubled, "outputs", "names that all differ", ", ".join(doubled), remedy)
    for name in others:
        expected = f"arguments among {', '.join((*names, *known))}"
        _expect(name in names, "residual", expected, repr(name), "rename it")
    return names


def _shape(points: Tensor, quadrature: Tensor | None, dim: int) -> tuple[int, int] | None:
    """M integrals of Q points; None without a quadrature."""
    expected = f"[N, {dim}]" if quadrature is None else f"[Q, {dim}] or [M, Q, {dim}]"
    good = points.dim() in ((2,) if quadrature is None else (2, 3)) and points.shape[-1] == dim
    _expect(good, "points", expected, list(points.shape), "one row per point")
    if quadrature is None:
        return None
    shape = (1, len(points)) if points.dim() == 2 else (points.shape[0], points.shape[1])
    good = quadrature.shape in ((shape[1],), shape)
    remedy = "one weight per point"
    _expect(good, "quadrature", f"[{shape[1]}] or {list(shape)}", list(quadrature.shape), remedy)
    return shape


def _check_common(value: Callable[..., Any], names: Sequence[str], points: Tensor) -> None:
    """ValueError where a function takes a coordinate that varies within an integral."""
    for name in arguments_of(getattr(value, "forward", value), names):
        if name in names:
            column = points[..., names.index(name)]
            same = bool((column == column[:, :1]).all())
            expected = "a function of coordinates that the points of an integral share"
            _expect(same, "value", expected, f"one of {name}", "give a number or [M]")
