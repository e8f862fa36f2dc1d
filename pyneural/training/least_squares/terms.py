"""The terms of a model's loss as sums of squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.ops import MeanSquare
from pyneural.ops.graph import leaves
from pyneural.training.checks import check
from pyneural.training.least_squares.autograd_term import AutogradTerm
from pyneural.training.least_squares.columns_term import ColumnsTerm
from pyneural.training.least_squares.kernel_term import KernelTerm
from pyneural.training.least_squares.source import Source, Square
from pyneural.training.least_squares.term import SquaredTerm
from pyneural.training.weights import number


def least_squares(model: Any, parameters: Sequence[Tensor], batch: Any = None) -> list[SquaredTerm]:
    """The terms of a model's loss, each a weighted sum of squares of residuals.

        loss = sum over the terms of sum_m r_m^2,   r with the root of the term's weight

    A term that a kernel knows is a ``KernelTerm``: its Gram matrix comes in one pass over the
    points. One that reads trained fields beside the network is a ``ColumnsTerm``. Any other, as one
    with a function that programs do not have, is an ``AutogradTerm``. Weights are those of now,
    those over which the loss is maximised included; a term of weight 0 is left out. Where weights,
    points or anything but the parameters have changed, make the terms anew.

    Args:
        model: a ``Trainable`` with ``least_squares``.
        parameters: the trained ones, whose numbers one after the other are theta.
        batch: as for ``losses``; None for all.

    Raises:
        NotImplementedError: a model without ``least_squares``.
        ValueError: no parameters or none with a gradient; a class that has other losses than the
            one whose ``least_squares`` it inherits.
    """
    where = f"{type(model).__name__}: least_squares"
    frozen = [list(p.shape) for p in parameters if not (p.requires_grad and p.is_leaf)]
    expected = "parameters that require a gradient"
    check(bool(parameters) and not frozen, where, expected, frozen or "none", "give the trained")
    check(
        len({*map(id, parameters)}) == len(parameters), where, "each parameter once", "some twice"
    )
    _check_terms(model)
    source = Source(model, parameters, batch)
    found: list[SquaredTerm] = []
    for name, entry in source.entries().items():
        weight = number(model.term_weights.get(name, 1.0))
        check(weight >= 0, f"{where}: weight of {name!r}", "a number >= 0", weight)
        if weight > 0:
            found.append(_term(name, entry, source, weight))
    check(bool(found), where, "a term with a weight above 0", "none")
    return found


def _check_terms(model: Any) -> None:
    """ValueError where a subclass has losses of its own and the squares of another class."""
    for kind in type(model).__mro__:
        if "least_squares" in vars(kind):
            return
        where, got = f"{type(model).__name__}.least_squares", f"{kind.__name__}.losses alone"
        remedy = "write least_squares in that class, too"
        check("losses" not in vars(kind), where, "one beside losses", got, remedy)


def _term(name: str, entry: Any, source: Source, weight: float) -> SquaredTerm:
    """The one that computes most of an entry in a kernel."""
    if not isinstance(entry, Square):
        return AutogradTerm(name, source, weight, "no kernel knows its residuals")
    trained = {*map(id, source.parameters)}

    def is_trained(tensor: Tensor | None) -> bool:
        return tensor is not None and any(id(leaf) in trained for leaf in leaves(tensor))

    if not is_trained(entry.x) and not is_trained(entry.columns):
        return KernelTerm(name, source, weight)
    if not is_trained(entry.x) and isinstance(entry, MeanSquare):
        return ColumnsTerm(name, source, weight)
    reason = "it depends on parameters outside the network that the kernel computes"
    return AutogradTerm(name, source, weight, reason)
