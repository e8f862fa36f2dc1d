"""The quadratic cost, and how it answers to a small change of a weight."""

from __future__ import annotations

from torch import Tensor


def quadratic_cost(y: Tensor, a: Tensor) -> Tensor:
    """Quadratic cost, summed over samples and outputs.

        C = 1/2 sum_j (y_j - a_j)^2,  dC/da_j = a_j - y_j

    Args:
        y: targets, any shape.
        a: outputs of the network, the same shape.

    Returns:
        C, [].

    Raises:
        ValueError: shapes that differ.

    >>> import torch
    >>> quadratic_cost(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]))
    tensor(2.5000)
    """
    if y.shape != a.shape:
        raise ValueError(
            f"quadratic_cost: a: expected the shape of y, {list(y.shape)}, got {list(a.shape)}; "
            "reshape one of them"
        )
    return (y - a).square().sum() / 2
