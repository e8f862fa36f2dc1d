"""J^T J + lambda I for a damping lambda that is lost in the rounding of J^T J.

Letters: T parameters, R residuals.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from pyneural.memory import available_memory
from pyneural.ops import damped_cholesky, damped_cholesky_solve
from pyneural.training.solvers.residuals import Residuals

_FACTOR = 3.0  # between two dampings that are tried
_MOST_TRIES = 24
_PARTS = 6  # of the rows, of whose products 15 in 36 are not computed


class RefinedGram:
    """The damped normal equations in coordinates in which they are well conditioned.

        J^T J + mu I = U^T U,   Q^T = U^-T J^T,   w = U v
        (Q^T Q + lambda U^-T U^-1) w = U^-T b   is   (J^T J + lambda I) v = b

    with a mu that the factorisation of J^T J as it is rounded allows. Q is computed from J, so
    that its small singular values, which J^T J has lost, have their digits: the equations are those
    of a QR factorisation, at three times the cost of J^T J, which is all products of matrices.

    Source: Fukaya, Kannan, Nakatsukasa, Yamamoto and Yanagisawa 2020, shifted CholeskyQR, SIAM J.
    Sci. Comput. 42.
    """

    def __init__(self, transposed: Tensor, factor: Tensor) -> None:
        self.transposed = transposed  # J^T, [T, R]
        self._first = factor  # U, [T, T]
        q = torch.linalg.solve_triangular(factor.mT, transposed, upper=False)
        self._gram = _times_its_transpose(q)
        # U^-T U^-1, where torch has the inverse of L L^T: backwards, U is lower triangular.
        self._metric = torch.cholesky_inverse(factor.flip(0, 1)).flip(0, 1)

    @classmethod
    def of(cls, residuals: Residuals, gram: Tensor, damping: float) -> RefinedGram | None:
        """With mu above a damping that is too small for J^T J.

        None where there is none, or where the memory that is free is too little for J.
        """
        group, device = residuals.process_group, gram.device
        size, count = len(gram), residuals.count()
        available = available_memory(device)
        too_large = available is not None and 8 * size * (3 * count + 4 * size) > available
        if group.any(too_large or not bool(gram.isfinite().all()), device):
            return None
        for _ in range(_MOST_TRIES):
            damping *= _FACTOR
            factor, is_definite = damped_cholesky(gram, damping)
            if not group.any(not bool(is_definite), device):
                return cls(residuals.jacobian()[2], factor)
        return None

    def factor(self, damping: float) -> bool:
        """Factorises with a damping; whether that is positive definite to rounding."""
        self._second, is_definite = damped_cholesky(self._gram + damping * self._metric, 0.0)
        return bool(is_definite)

    def solve(self, right: Tensor) -> Tensor:
        """(J^T J + damping I)^-1 b, [T]."""
        lower = self._first.mT
        w = torch.linalg.solve_triangular(lower, right[:, None], upper=False)[:, 0]
        w = damped_cholesky_solve(self._second, w)
        return torch.linalg.solve_triangular(self._first, w[:, None], upper=True)[:, 0]


def _times_its_transpose(rows: Tensor) -> Tensor:
    """X X^T, [T, T], the blocks above the diagonal from those below it."""
    size = len(rows)
    product = rows.new_empty(size, size)
    bounds = [size * part // _PARTS for part in range(_PARTS + 1)]
    for first, last in itertools.pairwise(bounds):
        block = rows[first:last] @ rows[:last].mT
        product[first:last, :last] = block
        product[:first, first:last] = block[:, :first].mT
    return product
