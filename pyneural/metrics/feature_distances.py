"""Distances of two sets of features: of their first two moments, and of their kernel means.

The features may be the columns of a table themselves, or the last hidden layer of a classifier of
images, ``models.ImageClassifier.features``. Their values depend on the features: they are
comparable with each other, and with no distance that is measured on another network's features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.metrics.checks import check_rows
from pyneural.progress import progress

_ELEMENTS = 1 << 24  # of a block of a kernel matrix


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Squared Frechet distance of the normal distributions with the moments of two sets.

        |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x^(1/2) C_y C_x^(1/2))^(1/2))

    The trace of the root is the sum of the singular values of C_x^(1/2) C_y^(1/2), which is as
    exact for singular covariances as for others. It sees nothing beyond mean and covariance, and
    N samples of one distribution have a distance of the order of F / N, not 0: compare sets of the
    same size, and with what two halves of the data score (see ``noise_floor``).

    Args:
        x: features [N, F] with N >= 2.
        y: features [M, F] with M >= 2.

    Returns:
        in the squared unit of the features, >= 0; computed in float64.

    Raises:
        ArgumentError: rows that are too few, not finite or of different columns.

    Source: Dowson and Landau, J. Multivariate Anal. 12, 450 (1982); of networks' features, Heusel
    et al. (2017), arXiv:1706.08500, whose Inception network this is not.

    >>> x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    >>> round(frechet_distance(x, x + 2), 6), round(frechet_distance(x, x), 6)
    (12.0, 0.0)
    """
    check_rows("frechet_distance", 2, x=x, y=y)
    sets = [rows.detach().double() for rows in (x, y)]
    first, second = (torch.atleast_2d(rows.T.cov()) for rows in sets)
    shift = (sets[0].mean(0) - sets[1].mean(0)).square().sum()
    root = torch.linalg.svdvals(_root(first) @ _root(second)).sum()
    return max(0.0, float(shift + first.trace() + second.trace() - 2 * root))


def _root(covariance: Tensor) -> Tensor:
    """The symmetric root; eigenvalues that are rounding are zero, whose root would not be."""
    values, vectors = torch.linalg.eigh(covariance)
    limit = len(values) * torch.finfo(values.dtype).eps * values[-1].clamp(min=0)
    return vectors * torch.where(values > limit, values, 0).sqrt() @ vectors.T


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Squared maximum mean discrepancy with a cubic kernel, without bias.

        mean_(i != j) k(x_i, x_j) + mean_(i != j) k(y_i, y_j) - 2 mean k(x_i, y_j)
        k(a, b) = (a b / F + 1)^3

    Its expectation is 0 where the distributions are equal, whatever N, so that it may be negative;
    it sees moments up to the third, and depends on the scale of the features.

    Args:
        x: features [N, F] with N >= 2.
        y: features [M, F] with M >= 2.

    Returns:
        the estimate, computed in float64.

    Raises:
        ArgumentError: rows that are too few, not finite or of different columns.

    Source: Binkowski et al. (2018), arXiv:1801.01401, eq. 4 and section 4.

    >>> generator = torch.Generator().manual_seed(0)
    >>> x, y = torch.randn(2, 1000, 3, generator=generator)
    >>> abs(kernel_distance(x, y)) < 0.05, kernel_distance(x, y + 2) > 1
    (True, True)
    """
    check_rows("kernel_distance", 2, x=x, y=y)
    x, y = x.detach().double(), y.detach().double()
    return _mean_within(x) + _mean_within(y) - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def _mean_within(x: Tensor) -> float:
    """Mean of k over pairs of different rows."""
    diagonal = (x.square().mean(1) + 1).pow(3).sum()
    return (_kernel_sum(x, x) - float(diagonal)) / (len(x) * (len(x) - 1))


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    """Sum of k over all pairs, in blocks of rows."""
    total, scaled = x.new_zeros(()), (y / y.shape[1]).T
    for block in progress("kernel_distance", x.split(max(1, _ELEMENTS // len(y)))):
        products = (block @ scaled).add_(1)
        total += (products * products).mul_(products).sum()
    return float(total)
