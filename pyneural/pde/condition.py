"""What all conditions share: points, prescribed values there, and the loss of the difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from pyneural.errors import whole
from pyneural.nn import MLP
from pyneural.nn.plain import is_changed
from pyneural.ops import Derivative, GroupedSquare, MeanSquare, ResidualProgram, record_residual
from pyneural.ops.caching import cached
from pyneural.pde.language.compiled import compiled_loss
from pyneural.pde.language.lowering import root_of
from pyneural.pde.network import (
    Network,
    check_inputs,
    mean_square_of,
    outputs_of,
    with_jets,
)
from pyneural.pde.prescribed import Unknown

Term = tuple[Derivative, Tensor | None]  # a derivative, () for the value, and a factor [N]


class Condition(torch.nn.Module):
    """Points and the prescribed values there; the loss is the mean square of the difference.

        loss = sum_o (1 / N) sum_n w_n (q_o(x_n) - target_no)^2

    The points and values are buffers, so ``.to(device)`` moves them; they are no part of the
    ``state_dict``. A value that is a ``torch.nn.Parameter``, or a function with parameters in it
    (``lambda t: c * t``), is unknown: the parameters are those of the condition and are learned.
    Subclasses define which quantity q is compared. That of a network with ``jet_loss``, as
    ``nn.MLP``, is computed with its gradient in one pass.

    Args:
        points: [N, D], N >= 1.
        target: [N, O], one column for each output that the condition is about, or an ``Unknown``.
        output: number of the column of the network's output that the condition is about, from 0;
            None for all.
        inputs: names of the columns of points, which those of a network must be; None if unknown.

    Raises:
        ValueError: no points, a target of another shape, an output that is no whole number, or
            numbers that are not finite.
    """

    points: Tensor
    values: Tensor
    same_for_all = False  # a target [N, 1] that every output is compared with

    def __init__(
        self,
        points: Tensor,
        target: Tensor | Unknown,
        output: int | None = None,
        inputs: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        if points.dim() != 2 or len(points) == 0:
            raise ValueError(
                f"{where}: points: expected [N, D] with N >= 1, got {list(points.shape)}; "
                "an empty condition has no effect: leave it out or give it points"
            )
        if isinstance(points, torch.nn.Parameter):
            raise ValueError(
                f"{where}: points: expected fixed ones, got a torch.nn.Parameter; positions are "
                "not learned: write points.detach()"
            )
        points = points.detach()
        self.unknown = target if isinstance(target, Unknown) else None
        target = target(points).detach() if isinstance(target, Unknown) else target
        one_output = output is None or target.shape[1:] == (1,)
        if target.dim() != 2 or len(target) != len(points) or not one_output:
            columns = "O" if output is None else "1"
            raise ValueError(
                f"{where}: value: expected [{len(points)}] or [{len(points)}, {columns}], one row "
                f"per point, got {list(target.shape)}; reshape it"
            )
        for argument, numbers in (("points", points), ("value", target)):
            if not bool(torch.isfinite(numbers).all()):
                raise ValueError(
                    f"{where}: {argument}: expected finite numbers, got nan or inf; "
                    "remove those points"
                )
        self.output = None if output is None else whole(f"{where}: output", output)
        self.inputs = None if inputs is None else tuple(inputs)
        self.register_buffer("points", points, persistent=False)
        self.outputs = target.shape[1]
        self.register_buffer("values", None if self.unknown else target, persistent=False)

    @property
    def target(self) -> Tensor:
        """The prescribed values, [N, O]."""
        return self.values if self.unknown is None else self.unknown(self.points)

    @property
    def count(self) -> int:
        """Number N of squares that the loss is the mean of, each of which may have a weight."""
        return len(self.points)

    def fix(self) -> None:
        """Keeps the prescribed values as they are now."""
        self.values, self.unknown = self.target.detach(), None

    def terms(self) -> list[Term]:
        """What is compared, as a sum of derivatives, () for the value, with factors [N] or None."""
        return [((), None)]

    def recorded(self) -> str:
        """What is compared, as text."""
        asked = [derivative for derivative, _ in self.terms()]
        return f"{asked} of {'all outputs' if self.output is None else f'output {self.output}'}"

    def residuals(self, network: Network) -> list[Tensor]:
        """What is compared minus the prescribed values, [N, O] each."""
        terms = self.terms()
        asked = [derivative for derivative, _ in terms if derivative]
        network = with_jets(network)
        jet = network.jet(self.points, asked) if asked else (network(self.points),)
        channels = dict(zip(((), *asked), jet, strict=True))
        total: Any = None
        for derivative, factor in terms:
            term = self.select(channels[derivative])
            term = term if factor is None else factor[:, None] * term
            total = term if total is None else total + term
        return [total - self.target]

    def loss(self, network: Network, weights: Tensor | None = None) -> Tensor:
        """Mean over the points of the squared residuals, summed over outputs and parts, [].

        Args:
            network: see ``pde.Network``.
            weights: w_n >= 0, one for each point, [N]; None for 1.
        """
        if torch.compiler.is_compiling():
            return compiled_loss(self, network, self.points, weights)
        return self.eager_loss(network, self.points, weights)

    def eager_loss(self, network: Network, points: Tensor, weights: Tensor | None) -> Tensor:
        """``loss`` where it is not part of a compiled graph; the points are those at hand."""
        self.check(network)
        fused = self._fused(network, weights, only_where_it_gains=True)
        if fused is not None:
            return with_jets(network).jet_loss(*fused)
        squares = [part.square().sum(1) for part in self.residuals(network)]
        total = sum(squares[1:], start=squares[0])
        return (total if weights is None else weights.to(total) * total).mean()

    def mean_square(
        self, network: Network, weights: Tensor | None = None
    ) -> MeanSquare | GroupedSquare | None:
        """What ``loss`` is the value of, for second-order methods.

        None where no kernel knows it; ``scaled_residuals`` are then what there is.

        >>> from pyneural.pde import Box, Initial
        >>> start = Initial(Box(t=(0, 1), x=(-1, 1)), lambda x: x**2, 10)
        >>> network = MLP(2, [8], 1)
        >>> torch.allclose(start.mean_square(network).loss(), start.loss(network))
        True
        """
        self.check(network)
        fused = self._fused(network, weights)
        return None if fused is None else mean_square_of(with_jets(network), *fused)

    def scaled_residuals(self, network: Network, weights: Tensor | None = None) -> Tensor:
        """Residuals, [R], whose sum of squares is ``loss``: with the roots of w_n / N.

        Outputs come one after the other, as those of ``mean_square``.
        """
        self.check(network)
        parts = torch.stack(self.residuals(network)).transpose(1, 2)  # [parts, O, N]
        weight = parts.new_ones(()) if weights is None else weights.to(parts)
        return (root_of(weight / parts.shape[2], parts) * parts).flatten()

    def check(self, network: Network) -> None:
        """ValueError where a network's inputs are not those of the condition."""
        if self.inputs is not None:
            check_inputs(type(self).__name__, network, self.inputs, "the condition")

    def _fused(
        self, network: Any, weights: Tensor | None, only_where_it_gains: bool = False
    ) -> tuple | None:
        """The arguments of ``network.jet_loss`` that give the loss; None where there are none."""
        network = with_jets(network)
        outputs = outputs_of(network, self.points)
        terms = self.terms() if type(self).residuals is Condition.residuals else []
        asked = tuple(derivative for derivative, _ in terms if derivative)
        gains = not only_where_it_gains or bool(asked) or _is_plain(network)
        if not hasattr(network, "jet_loss") or outputs is None or not terms or not gains:
            return None
        target = self.target
        chosen = self._chosen(outputs)
        factors = [factor for _, factor in terms if factor is not None]
        columns = [
            *factors,
            *target.unbind(1),
            *([] if weights is None else [root_of(weights, self.points)]),
        ]
        places = tuple((asked.index(d) + 1 if d else 0, f is not None) for d, f in terms)
        program = _program(places, chosen, target.shape[1], weights is not None)
        stacked = torch.stack([column.to(self.points) for column in columns])
        return self.points, asked, program, None, stacked

    def select(self, u: Tensor) -> Tensor:
        """The columns of the network's u that the condition is about, [N, O]."""
        chosen = self._chosen(u.shape[1])
        return u if self.output is None else u[:, chosen[0] : chosen[0] + 1]

    def _chosen(self, outputs: int) -> tuple[int, ...]:
        where = type(self).__name__
        if self.output is not None:
            if not 0 <= self.output < outputs:
                raise ValueError(
                    f"{where}: output: expected 0 to {outputs - 1}, a column of the network's "
                    f"output, got {self.output}; correct it"
                )
            return (self.output,)
        if self.outputs != outputs and not self.same_for_all:
            raise ValueError(
                f"{where}: value: expected {outputs} columns, one per output of the network, got "
                f"{self.outputs}; give the column that is meant by output="
            )
        return tuple(range(outputs))

    def extra_repr(self) -> str:
        """Number of points."""
        return f"{len(self.points)} points"


def _is_plain(network: Any) -> bool:
    """Whether the value of a network is better computed with its gradient, by ``jet_loss``."""
    if type(network) is not MLP or is_changed(network):
        return False
    parameters = list(network.parameters())
    known = {torch.float32, torch.float64}
    return all(p.dtype in known and not is_traceable_wrapper_subclass(p) for p in parameters)


@cached
def _program(
    terms: tuple[tuple[int, bool], ...], outputs: tuple[int, ...], targets: int, is_weighted: bool
) -> ResidualProgram:
    """sum_k factor_k channel_k - target for each output, times the root of the weight.

    The columns are the factors of the terms that have one, the targets, and the root.
    """
    factors = sum(has_factor for _, has_factor in terms)

    def residual(jet: Any, x: Any, c: Any, columns: Any) -> tuple[Any, ...]:
        found = []
        for place, output in enumerate(outputs):
            row = iter(range(factors))
            total: Any = None
            for channel, has_factor in terms:
                term = jet[channel, output]
                term = columns[next(row)] * term if has_factor else term
                total = term if total is None else total + term
            total = total - columns[factors + (place if targets > 1 else 0)]
            found.append(columns[factors + targets] * total if is_weighted else total)
        return tuple(found)

    return record_residual(residual)
