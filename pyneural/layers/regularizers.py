"""Penalties on weights, as Keras's ``kernel_regularizer`` and ``bias_regularizer``.

    l1 sum |w| + l2 sum w^2

They are added to what is minimised, and are a curve of their own, ``regularization``: ``loss`` and
``val_loss`` are those of the data alone, so that they can be compared. (Keras adds the penalty to
both.) The gradient, and so the weights, are Keras's.
"""

from typing import Any

from torch import Tensor

Penalty = tuple[float, float]  # l1, l2
_NAMED = {"l1": (0.01, 0.0), "l2": (0.0, 0.01), "l1_l2": (0.01, 0.01), "l1l2": (0.01, 0.01)}


def penalty_of(where: str, given: Any) -> Penalty | None:
    """(l1, l2) of a name with Keras's 0.01, of l2 alone, of (l1, l2), or of what has l1 and l2.

    >>> penalty_of("Dense: kernel_regularizer", "l2"), penalty_of("", 1e-4)
    ((0.0, 0.01), (0.0, 0.0001))
    """
    if given is None:
        return None
    found: Any = _NAMED.get(given.lower()) if isinstance(given, str) else given
    if hasattr(given, "l1") or hasattr(given, "l2"):
        found = (getattr(given, "l1", 0.0), getattr(given, "l2", 0.0))
    try:
        l1, l2 = (0.0, found) if not isinstance(found, (tuple, list)) else found
        pair = float(l1), float(l2)
    except (TypeError, ValueError):
        pair = (-1.0, -1.0)
    if not all(0 <= factor < float("inf") for factor in pair):
        raise ValueError(
            f"{where}: expected 'l1', 'l2', 'l1_l2', a factor l2 >= 0 or (l1, l2), got {given!r}; "
            "write 1e-4"
        )
    return pair


def penalty(factors: Penalty, weight: Tensor) -> Tensor:
    """The penalty of a weight, []."""
    l1, l2 = factors
    total = l2 * weight.square().sum()
    return total + l1 * weight.abs().sum() if l1 else total
