"""Residuals as functions of outputs and inputs by name: their values at points, and their loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from pyneural.ops import Derivative, MeanSquare, Symbol, collapse_derivatives
from pyneural.pde.language.expression import Context, NeedsGraphError, plain
from pyneural.pde.language.lowering import lower, root_of, stacked, stacked_columns
from pyneural.pde.language.names import normal_names
from pyneural.pde.language.normals import Normals
from pyneural.pde.language.recorder import EquationRecorder, Lowered
from pyneural.pde.language.sites import MAIN, Pair, Site, jets_at, one_point
from pyneural.pde.network import Network, mean_square_of, outputs_of, with_jets

ALL = "u"  # the argument that takes a list of all outputs, where they have no names


def derivative(value: Any, wanted: Derivative) -> Any:
    """A derivative of a symbol or an expression, by input indices; () is the value itself."""
    if wanted == ():
        return value
    owner: Any = value._recorder if isinstance(value, Symbol) else value.context
    return owner.derivative(value, wanted)


class Residual:
    """What a residual's arguments mean, and the two ways to evaluate it.

    Args:
        where: the name that an error begins with.
        arguments: names of its arguments: outputs, inputs, components of the normals, or names of
            further points.
        inputs: names of the columns of the points.
        outputs: names of the columns of the network's output; None where the argument ``u`` is a
            list of them all.
        parameters: those of the inputs that are no part of a Laplacian, nor is t.
    """

    def __init__(
        self,
        where: str,
        arguments: Sequence[str],
        inputs: Sequence[str],
        outputs: Sequence[str] | None,
        parameters: Sequence[str] = (),
    ) -> None:
        self.where, self.arguments, self.inputs = where, tuple(arguments), tuple(inputs)
        self.outputs, self.parameters = outputs, tuple(parameters)
        self.remedy = "give the network one column per output"
        self._checked: dict[str, set[Any]] = defaultdict(set)
        self._recorders: dict[Any, list[EquationRecorder]] = defaultdict(list)

    def __getstate__(self) -> dict[str, Any]:
        """All but the recorders, for a copy."""
        return self.__dict__ | {"_recorders": defaultdict(list)}

    def derivatives(self, function: Callable, site: Site) -> tuple[Derivative, ...]:
        """Derivatives that the residual needs, recorded without the points."""
        like = site.points
        lowered = self._lower(function, None, one_point(site, like), 1, like)
        if lowered is not None:
            return lowered.derivatives
        return self.example(function, site.points, {MAIN: site})[0][MAIN]

    def recorded(self, function: Callable, sites: Mapping[str, Site]) -> str:
        """The instructions that the residual consists of, with their numbers, as text.

        Where some operation has none, the derivatives that the residual asks for.
        """
        site = sites[MAIN]
        if len(sites) == 1 and site.shape is None and self.outputs is not None:
            lowered = self._lower(function, site.points, site.normals, len(self.outputs))
            if lowered is not None:
                return f"{lowered.derivatives} {lowered.program}"
        return str(self.example(function, site.points, sites)[0])

    def example(
        self, function: Callable, like: Tensor, sites: Mapping[str, Site]
    ) -> tuple[dict[str, tuple[Derivative, ...]], list[Any], list[Tensor]]:
        """Derivatives asked for, residuals for outputs of 1, and the latter, leaves of a graph."""
        found: dict[str, list[Derivative]] = {name: [] for name in sites}

        def context(name: str, site: Site) -> Context:
            def channel(asked: Derivative | None, output: str) -> Tensor:
                if asked is not None and asked not in found[name]:
                    found[name].append(asked)
                return like.new_ones(shape)

            shape = (1, *(site.shape or ())[1:])
            normals = one_point(site, like)
            points = like.new_ones(torch.Size(shape).numel(), len(self.inputs))
            options = {"shape": shape, "normals": normals, "tracked": True, "is_recording": True}
            return self._context(points, channel, **options)

        with torch.enable_grad():
            contexts = {name: context(name, site) for name, site in sites.items()}
            result = function(**self._arguments(contexts, 1))
        values = list(result) if isinstance(result, (tuple, list)) else [result]
        leaves = [leaf for each in contexts.values() for leaf in each.leaves()]
        return {name: tuple(asked) for name, asked in found.items()}, values, leaves

    def evaluate(
        self, function: Callable, network: Network, sites: Mapping[str, Site]
    ) -> list[Tensor]:
        """The residuals' values, [N] each, any torch code allowed."""
        main = sites[MAIN]
        wanted, _, _ = self.example(function, main.points, sites)
        jets = jets_at(network, sites, wanted)
        count = next(iter(jets[MAIN].values())).shape[1]
        self.check_outputs(count)

        def run(tracked: bool) -> list[Any]:
            contexts = {
                name: self._context(
                    site.points,
                    self._channel(jets[name], wanted[name]),
                    shape=site.shape,
                    normals=site.normals,
                    tracked=tracked,
                    checked=self._checked[name],
                )
                for name, site in sites.items()
            }
            result = function(**self._arguments(contexts, count))
            return list(result) if isinstance(result, (tuple, list)) else [result]

        # At a single point a function of coordinates looks like a coefficient.
        tracked = min(len(site.points) for site in sites.values()) == 1
        has_gradient = torch.is_grad_enabled()
        if not tracked:
            try:
                values = run(tracked=False)
            except NeedsGraphError:
                tracked = True
        if tracked:
            with torch.enable_grad():
                values = run(tracked=True)
        checked = [self._result(value, main) for value in values]
        return checked if has_gradient else [value.detach() for value in checked]

    def loss(
        self,
        function: Callable,
        network: Network,
        sites: Mapping[str, Site],
        weights: Sequence[float | Tensor] | Tensor | None = None,
    ) -> Tensor:
        """Sum over the residuals of w_e times their mean squares.

        Weights are [] or [N] for each of the residuals, or one tensor [N] for all of them.
        """
        fused = self._fused(function, network, sites, weights)
        if fused is not None:
            return with_jets(network).jet_loss(*fused)
        residuals = self.evaluate(function, network, sites)
        if weights is None:
            squares = [residual.square().mean() for residual in residuals]
        else:
            pairs = zip(self._each(weights, len(residuals)), residuals, strict=True)
            squares = [
                (torch.as_tensor(w).to(residual) * residual.square()).mean()
                for w, residual in pairs
            ]
        return sum(squares[1:], start=squares[0])

    def mean_square(
        self,
        function: Callable,
        network: Network,
        sites: Mapping[str, Site],
        weights: Sequence[float | Tensor] | Tensor | None = None,
        factors: Tensor | None = None,
    ) -> MeanSquare | None:
        """What ``loss`` is the value of; None where no kernel knows it.

        In the place of roots of weights there may be factors of any sign, [N].
        """
        fused = self._fused(function, network, sites, weights, factors)
        return None if fused is None else mean_square_of(with_jets(network), *fused)

    def scaled_residuals(
        self,
        function: Callable,
        network: Network,
        sites: Mapping[str, Site],
        weights: Sequence[float | Tensor] | Tensor | None = None,
    ) -> Tensor:
        """Residuals, [R], whose sum of squares is ``loss``: with the roots of w_e / N."""
        parts = self.evaluate(function, network, sites)
        each = [1.0] * len(parts) if weights is None else self._each(weights, len(parts))
        roots = [root_of(w, part) / len(part) ** 0.5 for w, part in zip(each, parts, strict=True)]
        return torch.cat([root * part for root, part in zip(roots, parts, strict=True)])

    def _fused(
        self,
        function: Callable,
        network: Any,
        sites: Mapping[str, Site],
        weights: Sequence[float | Tensor] | Tensor | None,
        factors: Tensor | None = None,
    ) -> tuple | None:
        """The arguments of ``network.jet_loss`` that give the loss.

        None where the residual or the network does not allow it.
        """
        network, (x, normals, _) = with_jets(network), sites[MAIN]
        columns_of_u = outputs_of(network, x)
        count = columns_of_u if self.outputs is None else 1
        if self.outputs is not None:
            self.check_outputs(columns_of_u or len(self.outputs))
        if not hasattr(network, "jet_loss") or count is None or len(sites) > 1:
            return None
        lowered = self._lower(function, x, normals, count)
        if lowered is None:
            return None
        derivatives, program = collapse_derivatives(lowered.derivatives, lowered.program)
        coefficients, columns = lowered.coefficients, lowered.columns
        if weights is not None or factors is not None:
            count = len(program.residuals())
            if weights is None:
                roots = [cast(Tensor, factors)] * count
            else:  # residuals are squared
                roots = [root_of(weight, x) for weight in self._each(weights, count)]
            if all(root.dim() == 0 for root in roots):
                program = program.scaled(len(coefficients))
                coefficients = [*coefficients, *roots]
            else:
                program = program.weighted(len(columns))
                columns = [*columns, *roots]
        given = x, derivatives, program, stacked(coefficients, x)
        return (*given, stacked_columns(columns, x)) if columns else given

    def _each(
        self, weights: Sequence[float | Tensor] | Tensor, count: int
    ) -> Sequence[float | Tensor]:
        """A weight for each residual; ValueError for another number of them."""
        if isinstance(weights, Tensor):
            return [weights] * count
        if len(weights) != count:
            raise ValueError(
                f"{self.where}: weights: expected {count}, one for each equation, got "
                f"{len(weights)}; give as many as residual returns"
            )
        for weight in weights:
            if isinstance(weight, (int, float)) and not weight >= 0:
                raise ValueError(
                    f"{self.where}: weights: expected numbers >= 0, got {weight}; to maximise a "
                    "term, subtract it from the loss"
                )
        return weights

    def check_outputs(self, count: int) -> None:
        """ValueError unless the network has a column for each output."""
        if self.outputs is not None and count != len(self.outputs):
            raise ValueError(
                f"{self.where}: network: expected {len(self.outputs)} outputs "
                f"({', '.join(self.outputs)}), got {count}; {self.remedy}"
            )

    def _lower(
        self,
        function: Callable,
        points: Tensor | None,
        normals: Normals | None,
        count: int,
        like: Tensor | None = None,
    ) -> Lowered | None:
        names = self.outputs or [str(o) for o in range(count)]
        residual, arguments = function, self.arguments
        if self.outputs is None:
            arguments = (*names, *(a for a in arguments if a != ALL))

            def residual(**values: Any) -> Any:
                return function([values.pop(name) for name in names], **values)

        return lower(
            residual,
            arguments,
            self.inputs,
            names,
            self.parameters,
            points,
            normals,
            f"{self.where}.residual",
            self._checked[MAIN],
            self._recorders[tuple(names), points is None],
            like,
        )

    def _context(self, points: Tensor, channel: Callable, **how: Any) -> Context:
        where = f"{self.where}.residual"
        return Context(where, points, self.inputs, self.parameters, channel, **how)

    def _arguments(self, contexts: Mapping[str, Context], count: int) -> dict[str, Any]:
        """The values of the arguments by name."""

        def value(context: Context, name: str) -> Any:
            if self.outputs is None and name == ALL:
                return [context.output(str(o)) for o in range(count)]
            if self.outputs is not None and name in self.outputs:
                return context.output(name)
            if name in self.inputs:
                return context.coordinate(self.inputs.index(name))
            return context.normal(normal_names(self.inputs).index(name))

        def pair(name: str) -> Pair:
            context = contexts[name]
            outputs = [ALL] if self.outputs is None else self.outputs
            known = [
                *outputs,
                *self.inputs,
                *(normal_names(self.inputs) if context.normals else ()),
            ]
            return Pair(lambda attribute: value(context, attribute), known, name)

        return {
            name: pair(name) if name in contexts else value(contexts[MAIN], name)
            for name in self.arguments
        }

    def _channel(
        self, jets: Mapping[Derivative | None, Tensor], wanted: Sequence[Derivative]
    ) -> Callable[[Derivative | None, str], Tensor]:
        def channel(asked: Derivative | None, output: str) -> Tensor:
            if asked not in jets:
                raise ValueError(
                    f"{self.where}.residual: {output}: expected the derivatives {tuple(wanted)} "
                    f"found by the recorder, got {asked}; do not let values of {output} decide "
                    "which are used: compute both branches and torch.where"
                )
            column = int(output) if self.outputs is None else self.outputs.index(output)
            return jets[asked][:, column]

        return channel

    def _result(self, value: object, site: Site) -> Tensor:
        shape = site.points.shape[:1] if site.shape is None else site.shape
        value = plain(value)
        if isinstance(value, (int, float)):
            value = site.points.new_tensor(value)
        if not isinstance(value, Tensor) or value.shape not in ((), shape):
            got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"{self.where}.residual: result: expected [N] = {list(shape)} or a tuple of "
                f"such, got {got}; return one residual per point"
            )
        if not value.is_floating_point():
            raise ValueError(
                f"{self.where}.residual: result: expected real numbers, got {value.dtype}; return "
                "the real and the imaginary part of a complex residual, and numbers for a "
                "comparison"
            )
        return value.expand(shape)
