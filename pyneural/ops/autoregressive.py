"""A whole layer of an autoregressive flow in one call."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def autoregressive_degrees(
    order: Tensor, hidden_features: Sequence[int], has_context: bool = False
) -> Tensor:
    """The degrees that ``autoregressive`` takes, for hidden units with all degrees in turn.

    So the masks of zuko's MaskedAutoregressiveTransform are, whose checkpoints fit therefore.

    Args:
        order: [D], whole numbers: feature d depends on those of lower order.
        hidden_features: width of each hidden layer.
        has_context: whether there is a context, which units of degree 0 see alone.

    Returns:
        int64, [D + the sum of hidden_features]: order, counted from 0 without gaps, then a degree
        for each hidden unit.

    Example:
        >>> autoregressive_degrees(torch.tensor([2, 0, 1]), [4]).tolist()
        [2, 0, 1, 1, 2, 1, 2]
    """
    orders, order = order.unique(return_inverse=True)
    lowest = 0 if has_context or len(orders) < 2 else 1
    choices = torch.arange(lowest, max(len(orders), lowest + 1), device=order.device)
    hidden = [choices[torch.arange(h, device=order.device) % len(choices)] for h in hidden_features]
    return torch.cat([order, *hidden])
