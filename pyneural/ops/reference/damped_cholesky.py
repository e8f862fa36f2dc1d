"""Cholesky's factorisation of a damped matrix, and the solution with it, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def damped_cholesky(matrix: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """U of A + damping I = U^T U, [n, n], and whether that is positive definite, [] bool."""
    damped = matrix + damping * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    factor, failed = torch.linalg.cholesky_ex(damped, upper=True)
    return factor, failed == 0


def damped_cholesky_solve(factor: Tensor, right: Tensor) -> Tensor:
    """U^-1 U^-T b, [n]."""
    return torch.cholesky_solve(right[:, None], factor, upper=True)[:, 0]
