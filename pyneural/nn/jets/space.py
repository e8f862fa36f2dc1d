"""What all jets of one evaluation share: the coordinates, and the derivatives that travel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import ArgumentError
from pyneural.ops.caching import cached
from pyneural.ops.jet.derivatives import Derivative, encode, partials_of
from pyneural.ops.jet.plan import make_plan
from pyneural.ops.jet.recorder import Recorder, Symbol

LARGEST_ORDER = 4


class Program(Recorder):
    """A residual program under construction, with the columns that it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: list[Tensor] = []

    def values(self, column: Tensor) -> Symbol:
        """The symbol of numbers [N], one for each point."""
        self.columns.append(column)
        return self.column(len(self.columns) - 1)


class NoRule(Exception):
    """An operation through which no derivative travels by a rule."""


class Space:
    """Points and derivatives.

    Args:
        where: the name that an error begins with.
        x: points, [N, D].
        derivatives: with respect to the columns of x.
        recorder: of a residual program, where the last network is to stay unevaluated for a loss
            that is computed together with it.

    Raises:
        ArgumentError: points that are not [N, D], derivatives of an order above 4 or of a column
            that x lacks.

    >>> space = Space("jet", torch.rand(5, 2), [(1, 1)])
    >>> space.channels
    ((1,), (1, 1))
    """

    def __init__(
        self,
        where: str,
        x: Tensor,
        derivatives: Sequence[Derivative],
        recorder: Program | None = None,
    ) -> None:
        if x.dim() != 2 or not x.is_floating_point():
            raise ArgumentError(
                f"{where}: x: expected points [N, D] of floating point numbers, got {x.dtype} of "
                f"shape {list(x.shape)}; give one row a point"
            )
        encode(where, derivatives)
        self.derivatives = tuple(derivatives)
        for derivative in self.derivatives:
            for indices, _ in partials_of(derivative):
                _check_indices(where, indices, x.shape[1])
        self.where, self.x, self.recorder = where, x, recorder
        self.plan = make_plan(self.derivatives)
        self.channels: tuple[Derivative, ...] = tuple(self.plan.channels)
        self.keeps_graph = torch.is_grad_enabled()
        self.units = _units(self.channels, x.shape[1])

    @property
    def count(self) -> int:
        """Number of points N."""
        return len(self.x)

    @property
    def order(self) -> int:
        """Highest derivative of a function that the channels need."""
        return self.plan.order

    def check_graph(self) -> None:
        """NoRule while gradients are off inside the module: its derivatives are not the rules'."""
        if self.keeps_graph and not torch.is_grad_enabled():
            raise NoRule("torch.autograd.Function or torch.no_grad")

    def mixes(self, name: str) -> ArgumentError:
        """The error of an operation that mixes points."""
        return ArgumentError(
            f"{self.where}: {name}: expected a function of each point alone, got an operation over "
            "the points (dimension 0 of x), whose derivatives at a point would depend on the "
            "others; work on the features, or compute what is common to all points beforehand"
        )


@cached
def _units(channels: Sequence[Derivative], inputs: int) -> dict[Derivative, list[float]]:
    """The derivatives of the coordinates that are not zero, a number for each column of x.

    >>> _units(((0,), (0, 0)), 2)
    {(0,): [1.0, 0.0]}
    """
    found = {channel: [0.0] * inputs for channel in channels}
    for channel, row in found.items():
        for indices, coefficient in partials_of(channel):
            if len(indices) == 1:
                row[indices[0]] += coefficient
    return {channel: row for channel, row in found.items() if any(row)}


def _check_indices(where: str, indices: Sequence[Any], inputs: int) -> None:
    if len(indices) > LARGEST_ORDER or not all(0 <= index < inputs for index in indices):
        raise ArgumentError(
            f"{where}: derivatives: expected at most {LARGEST_ORDER} indices of the {inputs} "
            f"columns of x, got {tuple(indices)}; columns are counted from 0"
        )
