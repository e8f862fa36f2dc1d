"""Rank correlation of the rows of two tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.errors import check_argument


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation of each sample of a with the same sample of b.

        rho = correlation of rank(a_i) and rank(b_i) over the elements i; equal ones share a rank

    Args:
        a: [N, ...].
        b: the same shape.

    Returns:
        rho, [N], in float64; NaN where all elements of a or of b are equal.

    Raises:
        ArgumentError: shapes that differ, fewer than two elements a sample.

    Source: Spearman, Am. J. Psychol. 15, 72 (1904).

    >>> a = torch.tensor([[1.0, 2.0, 3.0, 9.0]])
    >>> rank_correlation(a, torch.tensor([[1.0, 5.0, 6.0, 7.0]])).tolist()
    [1.0]
    """
    where, shapes = "rank_correlation: a and b", f"{list(a.shape)} and {list(b.shape)}"
    good = a.shape == b.shape and a.ndim >= 2 and len(a) > 0 and a[0].numel() >= 2
    check_argument(good, where, "[N, ...] twice, with two elements or more", shapes)
    x, y = (_ranks(rows.detach().flatten(1)) for rows in (a, b))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    norms = x.square().sum(1).sqrt() * y.square().sum(1).sqrt()
    return torch.where(norms > 0, (x * y).sum(1) / norms, torch.nan).clamp(-1, 1)


def _ranks(rows: Tensor) -> Tensor:
    """Ranks from 0 in each row, float64; equal elements have the mean of theirs.

    >>> _ranks(torch.tensor([[7.0, 1.0, 7.0]])).tolist()
    [[1.5, 0.0, 1.5]]
    """
    order = rows.sort(1).values
    rows = rows.contiguous()
    below = torch.searchsorted(order, rows)
    up_to = torch.searchsorted(order, rows, right=True)
    return (below + up_to - 1).double() / 2
