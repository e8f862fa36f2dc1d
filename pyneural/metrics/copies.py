"""Whether samples are copies of the rows that a model was trained on."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyneural.metrics.checks import check_rows
from pyneural.metrics.neighbours import nearest_distances


class Memorisation(NamedTuple):
    """How much closer samples are to the training rows than held-out rows are."""

    share: float  # probability that a sample is closer than a held-out row, 1/2 if by chance
    z: float  # deviations of that probability from 1/2, in standard errors
    samples: float  # median distance of a sample to its nearest training row
    held_out: float  # median distance of a held-out row


def memorisation(samples: Tensor, train: Tensor, held_out: Tensor) -> Memorisation:
    """Compares the distances to the nearest training row, of samples and of held-out rows.

        share = P(d(sample) < d(held-out row)) + P(d(sample) = d(held-out row)) / 2

    which is 1/2 for samples of the distribution of the data, 1 for copies of the training rows, and
    below 1/2 for samples far from any data. It is the statistic U of Mann and Whitney as a share;
    ``z`` is its distance from 1/2 in units of the standard error without ties,
    sqrt((N + M + 1) / (12 N M)): between -3 and 3 for two halves of held-out rows. Blurred samples,
    near the means of the data, are close to training rows without being copies: look at the nearest
    ones before you speak of copies.

    Args:
        samples: of the model, [N, D], pixels or features.
        train: rows that the model was trained on, [K, D].
        held_out: rows that it was not, [M, D].

    Raises:
        ArgumentError: rows that are empty, not finite or of different columns.

    Source: Meehan, Chaudhuri and Dasgupta (2020), arXiv:2004.05675, with one cell.

    >>> generator = torch.Generator().manual_seed(0)
    >>> train, held_out, new = torch.randn(3, 200, 4, generator=generator)
    >>> abs(memorisation(new, train, held_out).z) < 3, memorisation(train, train, held_out).share
    (True, 1.0)
    """
    check_rows("memorisation", samples=samples, train=train, held_out=held_out)
    known = train.detach().double()
    found, other = (nearest_distances(x.detach().double(), known) for x in (samples, held_out))
    ordered = other.sort().values
    above = len(other) - torch.searchsorted(ordered, found, right=True)
    equal = len(other) - torch.searchsorted(ordered, found) - above
    share = float((above + 0.5 * equal).double().mean() / len(other))
    n, m = len(found), len(other)
    error = math.sqrt((n + m + 1) / (12 * n * m))
    return Memorisation(share, (share - 0.5) / error, float(found.median()), float(other.median()))
