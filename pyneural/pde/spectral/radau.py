"""The Radau IIA method: collocation in time at Radau points, of order 2 s - 1 with s stages."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class RadauTableau(NamedTuple):
    """Radau IIA with s stages.

    Attributes:
        nodes: c, times of the stages as shares of a step, the last of them 1, [s].
        derivative: A^-1; the slopes at the stages are A^-1 (y_stages - y_0) / h, [s, s].
        rates: eigenvalues of A^-1, one of each conjugate pair, complex.
        to_stages: the columns of T, from these eigencomponents to the stages, [s, rates].
        from_stages: the rows of T^-1, [rates, s].
        share: 1 for a real eigenvalue, 2 for one of a pair, [rates].
    """

    nodes: Tensor
    derivative: Tensor
    rates: Tensor
    to_stages: Tensor
    from_stages: Tensor
    share: Tensor


@functools.lru_cache(maxsize=4)
def radau_iia(stages: int) -> RadauTableau:
    """The tableau (Hairer and Wanner, Solving Ordinary Differential Equations II, section IV.5).

    >>> tableau = radau_iia(2)
    >>> [round(c, 12) for c in tableau.nodes.tolist()]
    [0.333333333333, 1.0]
    >>> torch.linalg.inv(tableau.derivative)  # A
    tensor([[ 0.4167, -0.0833],
            [ 0.7500,  0.2500]], dtype=torch.float64)
    """
    legendre = np.polynomial.legendre.Legendre.basis
    roots = (legendre(stages) - legendre(stages - 1)).roots().real
    c = np.sort((1 + roots) / 2)
    c[-1] = 1.0
    powers = np.arange(1, stages + 1)
    # Integrals of the Lagrange polynomials from 0 to c: exact for all powers below s.
    a = (c[:, None] ** powers / powers) @ np.linalg.inv(c[:, None] ** (powers - 1))
    inverse = np.linalg.inv(a)
    rates, vectors = np.linalg.eig(inverse)
    rows = np.linalg.inv(vectors)
    chosen = rates.imag > -1e-9
    share = np.where(np.abs(rates[chosen].imag) > 1e-9, 2.0, 1.0)
    return RadauTableau(
        torch.from_numpy(c),
        torch.from_numpy(inverse),
        torch.from_numpy(rates[chosen].astype(complex)),
        torch.from_numpy(vectors[:, chosen].astype(complex)),
        torch.from_numpy(rows[chosen].astype(complex)),
        torch.from_numpy(share),
    )
