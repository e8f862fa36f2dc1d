"""The linear model of residuals by a Cholesky factorisation, of the smaller of two matrices.

Letters: T parameters, R residuals, of all terms and processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.memory import as_text, available_memory
from pyneural.ops import damped_cholesky, damped_cholesky_solve
from pyneural.training.checks import check
from pyneural.training.solvers.linear_model import LinearModel
from pyneural.training.solvers.refined_gram import RefinedGram
from pyneural.training.solvers.residuals import Residuals

# Of the trace's rounding, about what that of J^T J is: a small matrix that has lost its digits can
# be positive definite by chance.
_ROUNDING = 0.1


class CholeskyModel(LinearModel):
    """One that factorises a matrix plus a multiple of the identity."""

    gram: Tensor  # the matrix that is damped
    matrix: str  # its name

    def factor(self, damping: float) -> bool:
        """Factorises the damped matrix; whether it is positive definite to rounding."""
        self.damping = damping
        self._factor, is_definite = damped_cholesky(self.gram, damping)
        return not self.anywhere(not bool(is_definite))

    def why_not(self) -> str:
        """Why ``factor`` has failed."""
        if not bool(self.gram.isfinite().all()):
            return f"{self.matrix} is not finite"
        return (
            f"{self.matrix} + {self.damping:g} I is not positive definite to rounding: "
            "raise damping"
        )

    def _solve(self, right: Tensor) -> Tensor:
        return damped_cholesky_solve(self._factor, right)


class _Primal(CholeskyModel):
    """By J^T J + damping I, [T, T]; J is stored only where that is not enough."""

    matrix = "J^T J"

    def __init__(self, residuals: Residuals) -> None:
        self.residuals = residuals
        self.losses, self.gradient, self.gram = residuals.gram()
        self._rounding = _ROUNDING * torch.finfo(self.gram.dtype).eps * float(self.gram.trace())
        self._refines = self._loses = False
        self._refined: RefinedGram | None = None

    def refine(self) -> bool:
        """Allows for a factorisation by way of J."""
        helps, self._refines = self._loses and not self._refines, True
        return helps

    def factor(self, damping: float) -> bool:
        """As of all; and beyond the rounding of J^T J by way of J, where that is allowed."""
        if self._refined is None:
            is_definite = super().factor(damping)
            is_lost = damping < self._rounding or not is_definite
            self._loses |= is_lost
            if self._refines and is_lost:
                least = max(damping, self._rounding)
                self._refined = RefinedGram.of(self.residuals, self.gram, least)
            if self._refined is None:
                return is_definite
        self.damping = damping
        return not self.anywhere(not self._refined.factor(damping))

    def _solve(self, right: Tensor) -> Tensor:
        return super()._solve(right) if self._refined is None else self._refined.solve(right)

    def step(self, momentum: Tensor | None) -> Tensor:
        drawn = 0.0 if momentum is None else self.damping * momentum
        return self._solve(drawn - self.gradient)

    def correction(self, vectors: Sequence[Tensor]) -> Tensor:
        return -self._solve(self.residuals.transposed(vectors))

    def reduction(self, step: Tensor) -> float:
        if self._refined is None:
            square = step.dot(self.gram @ step)
        else:
            square = (step @ self._refined.transposed).square().sum()
        return float(-2 * self.gradient.dot(step) - square)

    def steepest(self) -> float:
        return _cosine(self.gradient, self.gram.diagonal(), self.losses.sum())

    def largest(self) -> float:
        return float(self.gram.diagonal().max())


class _Dual(CholeskyModel):
    """By J J^T + damping I, [R, R], for fewer residuals than parameters (Woodbury's identity).

        (J^T J + lambda I)^-1 J^T = J^T (J J^T + lambda I)^-1

    so that nothing is lost to rounding where lambda is small.
    """

    matrix = "J J^T"

    def __init__(self, residuals: Residuals) -> None:
        self.residuals = residuals
        self.losses, self.r, self.transposed = residuals.jacobian()  # [terms], [R], J^T [T, R]
        self.gram = self.transposed.T @ self.transposed

    def step(self, momentum: Tensor | None) -> Tensor:
        if momentum is None:
            return self._least(self.r)
        # With v = momentum + w it is |r + J momentum + J w|^2 + damping |w|^2.
        return momentum + self._least(self.r + momentum @ self.transposed)

    def correction(self, vectors: Sequence[Tensor]) -> Tensor:
        return self._least(self.residuals.together(vectors))

    def reduction(self, step: Tensor) -> float:
        change = step @ self.transposed
        return float(-2 * self.r.dot(change) - change.dot(change))

    def steepest(self) -> float:
        return _cosine(self.transposed @ self.r, self._squares(), self.losses.sum())

    def largest(self) -> float:
        return float(self._squares().max())

    def _least(self, vector: Tensor) -> Tensor:
        return -(self.transposed @ self._solve(vector))

    def _squares(self) -> Tensor:
        return self.transposed.square().sum(1)


def cholesky_model(
    residuals: Residuals, size: int, device: torch.device, kind: str, remedy: str
) -> CholeskyModel:
    """That of the smaller matrix.

    Args:
        residuals: of all terms.
        size: T, the number of parameters.
        device: of the matrices.
        kind: of the solver, for errors.
        remedy: for one whose matrices are too large.

    Raises:
        MemoryError: the matrices would not fit into the memory, of any of the processes.
    """
    count = residuals.count()
    primal = count >= size
    # Beside what a term takes: the damped matrix and its factor; or J^T and a copy of it, J J^T.
    terms = max(term.gram_bytes() for term in residuals.terms) + 8 * size**2 * (
        len(residuals.terms) > 1
    )
    needed = terms + 16 * size**2 if primal else 8 * (2 * size * count + 3 * count**2)
    available = available_memory(device)
    too_large = available is not None and needed > available
    check(
        not residuals.process_group.any(too_large, device), f"{kind}: parameters",
        f"matrices that fit into the {as_text(available or 0)} of memory that are free",
        f"{as_text(needed)} for {size} parameters and {count} residuals",
        remedy, MemoryError,
    )  # fmt: skip
    return _Primal(residuals) if primal else _Dual(residuals)


def _cosine(gradient: Tensor, squares: Tensor, square: Tensor) -> float:
    """Largest |J_j . r| / (|J_j| |r|) over the columns that are not 0."""
    scale = (squares * square).sqrt()
    return float(torch.where(scale > 0, gradient.abs() / scale, 0.0).max())
