"""What takes values at points for one number, and so loses how a residual depends on them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np

# Functions of a tensor that give a number of Python.
CONVERSIONS = {"__bool__", "__complex__", "__float__", "__index__", "__int__", "item"}
_BETWEEN = {
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul,
    np.divide: operator.truediv, np.power: operator.pow, np.less: operator.lt,
    np.less_equal: operator.le, np.greater: operator.gt, np.greater_equal: operator.ge,
    np.equal: operator.eq, np.not_equal: operator.ne,
}  # fmt: skip


def not_a_number(where: str, name: str) -> ValueError:
    """The error for a conversion of values at points, also of a single one.

    >>> print(not_a_number("Decay.residual", "__bool__"))
    Decay.residual: bool: expected operations on the values at all points, got one that takes \
them for one number; write torch.where(u > 0, a, b) for a decision
    """
    remedy = "torch.where(u > 0, a, b) for a decision" if name == "__bool__" else "torch.sin(u)"
    instead = "" if name == "__bool__" else " in place of math.sin(u)"
    return ValueError(
        f"{where}: {name.strip('_')}: expected operations on the values at all points, got one "
        f"that takes them for one number; write {remedy}{instead}"
    )


def of_numpy(where: str, ufunc: np.ufunc, operands: Sequence[Any]) -> Any:
    """Arithmetic of a scalar of numpy and an expression; an error for other functions of numpy.

    >>> import torch
    >>> of_numpy("Decay.residual", np.multiply, (np.float64(2), torch.ones(2)))
    tensor([2., 2.])
    """
    theirs = [isinstance(each, (np.generic, np.ndarray)) for each in operands]
    if ufunc in _BETWEEN and not any(map(np.ndim, compress(operands, theirs))):
        pairs = zip(operands, theirs, strict=True)
        return _BETWEEN[ufunc](*(each.item() if known else each for each, known in pairs))
    raise TypeError(
        f"{where}: numpy.{ufunc.__name__}: expected functions of torch, which have derivatives, "
        f"got one of numpy; write torch.{ufunc.__name__}, and arrays as torch.from_numpy(...)"
    )
