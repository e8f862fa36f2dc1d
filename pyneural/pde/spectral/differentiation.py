"""Chebyshev collocation: points, differentiation matrices of every order, interpolation."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def chebyshev_points(n: int, low: float = -1.0, high: float = 1.0) -> Tensor:
    """The n extrema of a Chebyshev polynomial on an interval, increasing, both ends included, [n].

    >>> chebyshev_points(3, 0, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    # The sine is antisymmetric to the last digit, the cosine is not.
    unit = torch.sin(math.pi / 2 * torch.arange(1 - n, n, 2, dtype=torch.float64) / (n - 1))
    points = (low + high) / 2 + (high - low) / 2 * unit
    points[0], points[-1] = low, high
    return points


def _weights(n: int) -> Tensor:
    """Barycentric weights of the Chebyshev points (Salzer 1972), [n]."""
    weights = 1.0 - 2.0 * (torch.arange(n) % 2).double()
    weights[[0, -1]] /= 2
    return weights


def differentiation_matrices(n: int, highest: int, length: float = 2.0) -> list[Tensor]:
    """Matrices [n, n] that give the derivatives of order 0 to ``highest`` at Chebyshev points.

        D^(m)_ij = m / (x_i - x_j) (w_j / w_i D^(m-1)_ii - D^(m-1)_ij),  i != j

    from order to order (Welfert 1997), where powers of the first matrix lose digits. Differences of
    points are products of sines, and the diagonal makes the rows sum to 0 (Baltensperger and
    Trummer 2003), so that constants have no derivative.

    Args:
        n: number of points.
        highest: the highest order.
        length: of the interval.

    >>> x = chebyshev_points(8)
    >>> D = differentiation_matrices(8, 3)
    >>> bool((D[3] @ x**5 - 60 * x**2).abs().max() < 1e-11)
    True
    """
    index = torch.arange(n, dtype=torch.float64)
    angles = math.pi * index / (n - 1)
    total, between = angles[:, None] + angles, angles[:, None] - angles
    gaps = 2 * torch.sin(total / 2) * torch.sin(between / 2)  # x_i - x_j
    upper = index < n / 2
    gaps = torch.where(upper[:, None], gaps, -gaps.flip(0, 1))  # the small angles are exact
    gaps.fill_diagonal_(1)
    weights = _weights(n)
    ratio = weights / weights[:, None]  # w_j / w_i
    matrices = [torch.eye(n, dtype=torch.float64)]
    for order in range(1, highest + 1):
        before = matrices[-1]
        matrix = order / gaps * (ratio * before.diagonal()[:, None] - before)
        matrix.fill_diagonal_(0)
        matrix -= torch.diag(matrix.sum(1))
        matrices.append(matrix)
    return [matrix * (2 / length) ** order for order, matrix in enumerate(matrices)]


def interpolation_matrix(nodes: Tensor, points: Tensor) -> Tensor:
    """Matrix [P, n] from values at Chebyshev points to those at other points (Berrut 2004).

    >>> x = chebyshev_points(20)
    >>> y = torch.tensor([0.3, 1.0], dtype=torch.float64)
    >>> bool((interpolation_matrix(x, y) @ x.exp() - y.exp()).abs().max() < 1e-14)
    True
    """
    gaps = points[:, None] - nodes
    hit = gaps == 0
    terms = _weights(len(nodes)) / torch.where(hit, 1.0, gaps)
    matrix = terms / terms.sum(1, keepdim=True)
    return torch.where(hit.any(1, keepdim=True), hit.double(), matrix)


def chebyshev_coefficients(values: Tensor, dim: int) -> Tensor:
    """Coefficients of the interpolating polynomial along a dimension, by FFT.

    >>> x = chebyshev_points(5)
    >>> chebyshev_coefficients(2 * x**2 - 1, 0).round(decimals=12).abs().tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    values = values.flip(dim).movedim(dim, -1)
    n = values.shape[-1]
    even = torch.cat([values, values[..., 1:-1].flip(-1)], -1)
    coefficients = torch.fft.rfft(even, norm="forward").real
    coefficients[..., 1 : n - 1] *= 2
    return coefficients.movedim(-1, dim)
