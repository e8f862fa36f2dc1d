"""Distances to nearest neighbours, in blocks of rows, so that memory does not grow with N^2."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pyneural.progress import progress

_ELEMENTS = 1 << 24  # of a block of distances


def squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squares of the distances of rows x [N, D] to y [M, D], as blocks [B, M] with their rows.

    They are |x|^2 + |y|^2 - 2 x y, in float64 and around the mean of y: exact to rounding of the
    squares, so that of copies they are some 1e-16 of those and not 0.
    """
    mean = y.mean(0)
    x, y = x - mean, y - mean
    of_x, of_y = x.square().sum(1), y.square().sum(1)
    rows = max(1, _ELEMENTS // len(y))
    for start in progress("distances", range(0, len(x), rows)):
        block = slice(start, start + rows)
        squares = torch.addmm(of_y.expand(len(x[block]), -1), x[block], y.T, alpha=-2)
        yield block, squares.add_(of_x[block, None]).clamp_(min=0)


def nearest_distances(x: Tensor, y: Tensor, *, itself: bool = False, k: int = 1) -> Tensor:
    """Distance of each row of x [N, D] to the k-th nearest of y [M, D], [N], in float64.

    Args:
        x: rows.
        y: those among which neighbours are looked for.
        itself: whether y is x, so that a row is no neighbour of itself; copies of it are.
        k: 1 for the nearest.
    """
    found = []
    for block, squares in squared_distances(x, y):
        if itself:
            squares.diagonal(block.start).fill_(torch.inf)
        nearest = squares.topk(k, largest=False).indices  # [B, k]
        # Once more from the differences: 0 where a row is a copy.
        exact = torch.linalg.vector_norm(x[block, None] - y[nearest], dim=2)
        found.append(exact.amax(1))
    return torch.cat(found)
