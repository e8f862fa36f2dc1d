"""Cholesky's factorisation of a matrix with a damping on its diagonal, and solutions with it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyneural.errors import as_argument_error, check_argument
from pyneural.ops import reference
from pyneural.ops.registration import register_derivative
from pyneural.ops.transforms import has_no_kernel, is_plain_torch

_DTYPES = (torch.float64,)


def damped_cholesky(matrix: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """Factor U of A + damping I = U^T U, upper triangular, and whether there is one.

    Only the upper triangle of A is read, which is left as it is. On the CPU blocks of the triangle
    lie together in memory, and products of our own are taken from them: the steps of
    Levenberg-Marquardt try a damping after the other on one matrix. The bits do not depend on the
    threads. On other devices, for other dtypes and for derivatives it is
    ``torch.linalg.cholesky_ex``.

    Args:
        matrix: A, symmetric, [n, n].
        damping: >= 0, in units of A.

    Returns:
        U, [n, n], with zeros below the diagonal, and whether A + damping I is positive definite to
        rounding, [] bool; where it is not, U is meaningless.

    Raises:
        ValueError: a matrix that is not square, or a damping that is negative or not finite.

    Source: Cholesky 1910, in Commandant Benoit 1924, Bulletin geodesique 2; blocks: Golub and Van
        Loan 2013, Matrix Computations, sec. 4.2.

    Example:
        >>> matrix = torch.tensor([[3.0, 2.0], [2.0, 4.0]], dtype=torch.float64)
        >>> factor, is_definite = damped_cholesky(matrix, 1.0)  # of [[4, 2], [2, 5]]
        >>> factor.tolist(), bool(is_definite)
        ([[2.0, 1.0], [0.0, 2.0]], True)
    """
    if not is_plain_torch(matrix):
        try:
            return torch.ops.pyneural.damped_cholesky(matrix, damping)
        except (ValueError, RuntimeError) as error:
            if not has_no_kernel([matrix], _DTYPES):
                raise as_argument_error(error) from None
    # As the kernel does: in plain torch a matrix [n, 1] would be broadcast.
    good = matrix.dim() == 2 and matrix.shape[0] == matrix.shape[1]
    check_argument(good, "damped_cholesky: matrix", "shape [n, n]", list(matrix.shape))
    good = 0 <= damping < math.inf
    check_argument(good, "damped_cholesky: damping", "a finite number >= 0", damping)
    return reference.damped_cholesky(matrix, damping)


def damped_cholesky_solve(factor: Tensor, right: Tensor) -> Tensor:
    """Solution x of U^T U x = b.

    Args:
        factor: U of ``damped_cholesky``, [n, n].
        right: b, [n].

    Returns:
        x, [n].

    Raises:
        ValueError: shapes, dtypes or devices that do not match.

    Example:
        >>> factor = torch.tensor([[2.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
        >>> damped_cholesky_solve(factor, torch.tensor([2.0, 5.0], dtype=torch.float64)).tolist()
        [0.0, 1.0]
    """
    if not is_plain_torch(factor, right):
        try:
            return torch.ops.pyneural.damped_cholesky_solve(factor, right)
        except (ValueError, RuntimeError) as error:
            if not has_no_kernel([factor, right], _DTYPES):
                raise as_argument_error(error) from None
    size = list(factor.shape)
    good = len(size) == 2 and size[0] == size[1]
    check_argument(good, "damped_cholesky_solve: factor", "shape [n, n]", size)
    good, got = list(right.shape) == size[:1], list(right.shape)
    check_argument(good, "damped_cholesky_solve: right", f"shape {size[:1]}", got)
    return reference.damped_cholesky_solve(factor, right)


register_derivative(
    "damped_cholesky",
    reference.damped_cholesky,
    lambda matrix, _: (matrix.new_empty(matrix.shape), matrix.new_empty((), dtype=torch.bool)),
)
register_derivative(
    "damped_cholesky_solve",
    reference.damped_cholesky_solve,
    lambda factor, right: right.new_empty(right.shape),
)
