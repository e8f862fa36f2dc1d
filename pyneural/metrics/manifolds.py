"""How much of the samples is within the data, and how much of the data within the samples."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, whole
from pyneural.metrics.checks import check_rows
from pyneural.metrics.neighbours import nearest_distances, squared_distances


class PrecisionRecall(NamedTuple):
    """Share of the samples within the data, and of the data within the samples."""

    precision: float
    recall: float


def precision_recall(real: Tensor, samples: Tensor, *, k: int = 3) -> PrecisionRecall:
    """Precision and recall of samples, by balls around the rows of both sets.

        precision = share of samples y with |y - x_i| <= r_i for a real row x_i
        recall    = share of real rows x with |x - y_j| <= r_j for a sample y_j

    where r is the distance of a row to its k-th nearest neighbour in its own set. Samples of a part
    of the data have a high precision and a low recall, noise around the data the reverse. Both
    depend on N, so compare sets of the same sizes; two halves of real data do not score 1 (see
    ``noise_floor``: 0.98 each for 1,000 rows of a normal distribution in 2 dimensions, 0.64 in 64).

    Args:
        real: rows of the data or their features, [N, D].
        samples: those of a model, [M, D].
        k: number of neighbours, below N and M.

    Raises:
        ArgumentError: rows that are too few, not finite or of different columns.

    Source: Kynkaanniemi et al. (2019), arXiv:1904.06991, eq. 1 and 2.

    >>> generator = torch.Generator().manual_seed(0)
    >>> real, samples = torch.randn(2, 500, 2, generator=generator)
    >>> p, r = precision_recall(real, 0.1 * samples)
    >>> p > 0.95, r < 0.2
    (True, True)
    """
    k = whole("precision_recall: k", k)
    if k < 1:
        raise ArgumentError(f"precision_recall: k: expected >= 1, got {k}; write 3")
    check_rows("precision_recall", k + 1, real=real, samples=samples)
    x, y = real.detach().double(), samples.detach().double()
    of_x, of_y = (nearest_distances(rows, rows, itself=True, k=k).square() for rows in (x, y))
    # Without the margin a row were outside of a ball of its own copies, by rounding.
    margin = 1e-14 * float((x - x.mean(0)).square().sum(1).max())
    precise, recalled = y.new_zeros(len(y)).bool(), []
    for block, squares in squared_distances(x, y):
        precise |= (squares <= of_x[block, None] + margin).any(0)
        recalled.append((squares <= of_y + margin).any(1))
    shares = [float(part.double().mean()) for part in (precise, torch.cat(recalled))]
    return PrecisionRecall(*shares)
