"""Coefficients of ETDRK4, the fourth-order exponential time-differencing Runge-Kutta method."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_POINTS = 32  # on the contour; the functions are entire, so that the error is below 1 / 32!


class Coefficients(NamedTuple):
    """Of a step h for u_t = L u + N(u): numbers where L is diagonal, else matrices.

    Attributes:
        whole: exp(h L).
        half: exp(h L / 2).
        inner: h / 2 phi_1(h L / 2), of the stages.
        first: h (phi_1 - 3 phi_2 + 4 phi_3)(h L), of N at the beginning.
        middle: h (2 phi_2 - 4 phi_3)(h L), of each N in the middle.
        last: h (4 phi_3 - phi_2)(h L), of N at the end.
    """

    whole: Tensor
    half: Tensor
    inner: Tensor
    first: Tensor
    middle: Tensor
    last: Tensor


def etdrk4_diagonal(rates: Tensor, h: float) -> Coefficients:
    """Coefficients where L is diagonal; rates holds its elements, of any shape.

    The formulas lose all digits near h L = 0. So each is the mean over a circle of radius 1 about
    h L, which equals its value in the middle (Kassam and Trefethen 2005).

    >>> c = etdrk4_diagonal(torch.zeros(1), 1.0)  # L = 0: the classical Runge-Kutta method
    >>> [round(float(x), 12) for x in (c.inner, c.first, c.middle, c.last)]
    [0.5, 0.166666666667, 0.333333333333, 0.166666666667]
    """
    z = h * rates.to(torch.complex128)
    angles = 2 * math.pi * (torch.arange(_POINTS, dtype=torch.float64) + 0.5) / _POINTS
    sums = [torch.zeros_like(z) for _ in range(4)]
    for shift in torch.polar(torch.ones_like(angles), angles):
        w = z + shift
        e, cube = torch.exp(w), w**3
        sums[0] += (torch.exp(w / 2) - 1) / w
        sums[1] += (-4 - w + e * (4 - 3 * w + w * w)) / cube
        sums[2] += (2 + w + e * (w - 2)) / cube
        sums[3] += (-4 - 3 * w - w * w + e * (4 - w)) / cube
    inner, first, middle, last = (h / _POINTS * s for s in sums)
    found = Coefficients(torch.exp(z), torch.exp(z / 2), inner, first, 2 * middle, last)
    return found if rates.is_complex() else Coefficients(*(c.real.contiguous() for c in found))


def etdrk4_matrix(matrix: Tensor, h: float) -> Coefficients:
    """Coefficients for matrices L, [..., S, S].

    A contour about eigenvalues that lie far apart would need too many points. The functions are
    blocks of the exponential of one larger matrix instead (Sidje 1998, theorem 1).

    >>> wave = torch.tensor([[0.0, 1.0], [-4.0, 0.0]], dtype=torch.float64)
    >>> round(float(etdrk4_matrix(wave, 0.5).whole[0, 0] - math.cos(1)), 14)
    0.0
    """
    z = (h * matrix).to(torch.complex128)
    _, phi1, phi2, phi3 = phis = _phi_functions(z, 3)
    half, half_phi1 = _phi_functions(z / 2, 1)
    found = Coefficients(
        phis[0],
        half,
        h / 2 * half_phi1,
        h * (phi1 - 3 * phi2 + 4 * phi3),
        h * (2 * phi2 - 4 * phi3),
        h * (4 * phi3 - phi2),
    )
    return found if matrix.is_complex() else Coefficients(*(c.real.contiguous() for c in found))


def _phi_functions(z: Tensor, highest: int) -> list[Tensor]:
    """phi_0 to phi_p of matrices [..., S, S], from exp of [[z, 1, 0], [0, 0, 1], [0, 0, 0]]."""
    size = z.shape[-1]
    big = z.new_zeros(*z.shape[:-2], (highest + 1) * size, (highest + 1) * size)
    big[..., :size, :size] = z
    eye = torch.eye(size, dtype=z.dtype)
    for p in range(highest):
        big[..., p * size : (p + 1) * size, (p + 1) * size : (p + 2) * size] = eye
    top = torch.linalg.matrix_exp(big)[..., :size, :]
    return [top[..., p * size : (p + 1) * size] for p in range(highest + 1)]
