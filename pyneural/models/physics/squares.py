"""The terms of a PINN as squares, for solvers of second order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from pyneural.ops import GroupedSquare, MeanSquare
from pyneural.training.checks import check

Squares = dict[str, MeanSquare | GroupedSquare | Callable[[], Tensor]]


def squares(asked: Sequence[tuple[str, Any, tuple[Any, ...], dict[str, Any]]]) -> Squares:
    """The losses of equations and conditions before they are summed.

    Learned weights of equations and points are taken as they are now.

    Args:
        asked: for each term its name, the equation or condition, and the arguments of its loss.

    Raises:
        ValueError: a loss of the user's own without the residuals that it is made of.
    """
    found: Squares = {}
    for name, owner, given, inside in asked:
        _check_loss(name, owner)
        fixed = {key: _detached(weights) for key, weights in inside.items()}
        square = owner.mean_square(*given, **fixed)
        residuals = partial(owner.scaled_residuals, *given, **fixed)
        found[name] = residuals if square is None else square
    return found


def _check_loss(name: str, owner: Any) -> None:
    """ValueError where a subclass computes another loss than these residuals are of."""
    for kind in type(owner).__mro__:
        if {"mean_square", "scaled_residuals"} & vars(kind).keys():
            return
        where = f"PINN.least_squares: {name!r}"
        expected = "residuals beside a loss of its own"
        remedy = "write mean_square, which may give None, and scaled_residuals in the same class"
        own = {"loss", "eager_loss"} & vars(kind).keys()
        check(not own, where, expected, f"{kind.__name__} with a loss alone", remedy)


def _detached(weights: Any) -> Any:
    if isinstance(weights, Tensor):
        return weights.detach()
    return [_detached(w) for w in weights] if isinstance(weights, list) else weights
