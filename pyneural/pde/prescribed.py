"""Prescribed values of conditions: fixed ones, and those with unknowns that are learned."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from pyneural.errors import ArgumentError
from pyneural.pde.coordinates import call_with_coordinates
from pyneural.pde.unknowns import adopt_unknowns

Value = float | Tensor | np.ndarray | Callable[..., Tensor]


class Unknown(torch.nn.Module):
    """A prescribed value with parameters to learn, computed anew at each call.

    Args:
        value: a parameter [], [N] or [N, O], or a function of coordinates by name; if that is a
            module, its parameters are learned too.
        names: of the columns of the points.
        example: what it gave for some points, with its graph.
        where: the name that an error begins with.

    >>> c = torch.nn.Parameter(torch.tensor(2.0))
    >>> inflow = prescribed(lambda t: c * t, ("t",), torch.tensor([[1.0], [3.0]]), "example")
    >>> next(inflow.parameters()) is c, inflow(torch.tensor([[4.0]])).tolist()
    (True, [[8.0]])
    """

    def __init__(self, value: Value, names: Sequence[str], example: Tensor, where: str) -> None:
        super().__init__()
        self.value, self.names, self.where = value, tuple(names), where
        if callable(value):
            adopt_unknowns(self, value, example, f"{where}: value")

    def forward(self, points: Tensor) -> Tensor:
        """Points [N, D] to values [N, O]."""
        return _evaluate(self.value, self.names, points, self.where)


def prescribed(value: Value, names: Sequence[str], points: Tensor, where: str) -> Tensor | Unknown:
    """Values at points [N, D]: [N, O], or a module that gives them where they have unknowns.

    A tensor that was computed from parameters is fixed, with a warning.

    Raises:
        ValueError: an unknown that is no parameter, or that cannot be found in the function; a
            value that is no number.
    """
    if isinstance(value, Tensor) and value.requires_grad and type(value) is Tensor:
        if value.is_leaf:
            raise ValueError(
                f"{where}: value: expected an unknown that is a torch.nn.Parameter, got a tensor "
                "that requires a gradient; write torch.nn.Parameter(value), or value.detach()"
            )
        warnings.warn(
            f"{where}: value: a tensor that was computed from parameters stays as it is now; "
            "write value.detach(), or to learn them a function of coordinates that computes it",
            stacklevel=4,
        )
        value = value.detach()
    with torch.enable_grad():  # an unknown is one under no_grad, too
        found = _evaluate(value, names, points, where)
    return Unknown(value, names, found, where) if found.requires_grad else found


def check_paired(value: Value, points: object, where: str) -> None:
    """ValueError where values, one a point, would belong to points that are drawn at random."""
    shape = () if callable(value) else tuple(np.shape(value))
    if shape and np.isscalar(points):
        raise ValueError(
            f"{where}: value: expected a number or a function for points that are drawn, got "
            f"values {list(shape)}, which belong to certain points; give these as points=, or a "
            "function"
        )


def _evaluate(value: Value, names: Sequence[str], points: Tensor, where: str) -> Tensor:
    if callable(value):
        # In float64, so that the values are as exact as the points' own rounding allows.
        value = call_with_coordinates(value, names, points.double(), where)
    if hasattr(value, "__array__") and not isinstance(value, Tensor):  # a column of a frame, too
        value = np.array(value)
    try:
        values = torch.as_tensor(value, dtype=points.dtype, device=points.device)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(value, Tensor):
            raise
        expected, got = "a number, a tensor or a function of coordinates", type(value).__name__
        raise ArgumentError(f"{where}: value: expected {expected}, got {got}; {error}") from error
    if values.dim() == 0:
        values = values.expand(len(points)).contiguous()  # broadcast by several processes
    return values[:, None] if values.dim() == 1 else values
