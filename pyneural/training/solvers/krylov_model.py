"""The linear model of residuals by products alone: conjugate gradients, preconditioned.

Letters: T parameters, R residuals, L rank of the preconditioner; A = J^T J [T, T], never stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pyneural.training.solvers.linear_model import LinearModel
from pyneural.training.solvers.residuals import Residuals

Product = Callable[[Tensor], Tensor]  # A v of v, [T]
_RAISE = 10.0  # of the shift where it is below the rounding


class Nystrom:
    """A randomised low-rank approximation A ~ U diag(e) U^T of a positive semidefinite matrix.

        Y = A Omega + nu Omega,  C C^T = Omega^T Y,  B = Y C^-T = U S V^T,  e = max(S^2 - nu, 0)

    with orthonormal random columns Omega [T, L] and a shift nu above the rounding (Frangella,
    Tropp and Udell 2023, arXiv:2110.02820, algorithm 2.1). It takes the L largest eigenvalues out
    of A + lambda I, the condition of which is then about (e_L + lambda) / lambda.

    Args:
        product: A v.
        size: T.
        rank: L, at most T.
        like: a tensor whose dtype and device the vectors have.
        seed: of Omega.
        rounding: relative error of the products.

    Attributes:
        vectors: U, [T, L]; without columns where there is nothing to take out: A is 0 or not
            finite.
        values: e, [L], descending.
        largest: a lower bound of the largest eigenvalue, above 0 unless A is 0; nan where products
            are not finite.
    """

    def __init__(
        self, product: Product, size: int, rank: int, like: Tensor, seed: int, rounding: float
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(size, min(rank, size), generator=generator, dtype=like.dtype)
        omega = torch.linalg.qr(drawn.to(like.device)).Q
        y = torch.stack([product(column) for column in omega.T], 1)
        self.vectors, self.values = y.new_zeros(size, 0), y.new_zeros(0)
        norm = float(y.norm())
        self.largest = float(y.norm(dim=0).max()) if math.isfinite(norm) else math.nan
        if not self.largest > 0:
            return
        middle = omega.T @ y
        identity = torch.eye(len(middle), dtype=y.dtype, device=y.device)
        shift = rounding * norm * math.sqrt(size)
        while True:  # to a shift of |Y|, with which the matrix is positive definite in any case
            shifted = (middle + middle.T) / 2 + shift * identity
            factor, failed = torch.linalg.cholesky_ex(shifted)
            if not bool(failed):
                break
            shift *= _RAISE
        y += shift * omega
        b = torch.linalg.solve_triangular(factor, y.T, upper=False).T
        self.vectors, singular, _ = torch.linalg.svd(b, full_matrices=False)
        self.values = (singular.square() - shift).clamp_min(0)
        self.largest = max(self.largest, float(self.values[0]))

    def precondition(self, vector: Tensor, damping: float) -> Tensor:
        """P^-1 v with P = U (diag(e) + lambda) U^T / (e_L + lambda) + I - U U^T, [T]."""
        if not len(self.values):
            return vector
        inside = self.vectors.T @ vector
        weights = (self.values[-1] + damping) / (self.values + damping) - 1
        return vector + self.vectors @ (weights * inside)


def conjugate_gradients(
    product: Product,
    right: Tensor,
    precondition: Product,
    tolerance: float,
    most: int,
    anywhere: Callable[[bool], bool] = bool,
) -> tuple[Tensor, int]:
    """Solves M x = b for a positive definite M, by products M v.

    Args:
        product: M v.
        right: b, [T].
        precondition: P^-1 v, P being near to M.
        tolerance: of |b - M x| in parts of |b|, at which it ends.
        most: products at most.
        anywhere: whether a flag is set in any of the processes that take part in the products.

    Returns:
        x, [T], and the number of products. Where a product shows that M is not positive definite
        it is what was reached.

    >>> x, count = conjugate_gradients(lambda v: 2 * v, torch.ones(3), lambda v: v, 1e-9, 10)
    >>> x, count
    (tensor([0.5000, 0.5000, 0.5000]), 1)
    """
    x, rest = torch.zeros_like(right), right
    enough = tolerance * float(right.norm())
    direction = preconditioned = precondition(rest)
    square = float(rest @ preconditioned)
    for count in range(most):
        if anywhere(not float(rest.norm()) > enough):  # nan, too
            return x, count
        image = product(direction)
        curvature = float(direction @ image)
        if anywhere(not curvature > 0):
            return x, count + 1
        x = x + square / curvature * direction
        rest = rest - square / curvature * image
        preconditioned = precondition(rest)
        before, square = square, float(rest @ preconditioned)
        direction = preconditioned + square / before * direction
    return x, most


class KrylovModel(LinearModel):
    """The residuals to first order by products J v and J^T w: no matrix but [T, L].

    Args:
        residuals: at the parameters.
        size: T.
        rank: L.
        tolerance: of the linear equations.
        most: products of a solution at most.
        seed: of the preconditioner.
        rounding: relative error of the products, which is that of the parameters' dtype.
    """

    def __init__(
        self, residuals: Residuals, size: int, rank: int, tolerance: float, most: int, seed: int,
        rounding: float,
    ) -> None:  # fmt: skip
        self.residuals, self.tolerance, self.most = residuals, tolerance, most
        here = [term.residuals() for term in residuals.terms]
        self.losses = residuals.losses()
        self.gradient = residuals.transposed(here)
        self.nystrom = Nystrom(self._product, size, rank, self.gradient, seed, rounding)

    def factor(self, damping: float) -> bool:
        """Takes over the damping; the preconditioner is the same for all."""
        self.damping = damping
        return True

    def step(self, momentum: Tensor | None) -> Tensor:
        """The v that makes |r + J v|^2 + damping |v - momentum|^2 smallest, about, [T]."""
        drawn = 0.0 if momentum is None else self.damping * momentum
        return self._solve(drawn - self.gradient)

    def correction(self, vectors: Sequence[Tensor]) -> Tensor:
        """The v that makes |c + J v|^2 + damping |v|^2 smallest, about, [T], c by terms."""
        return -self._solve(self.residuals.transposed(vectors))

    def reduction(self, step: Tensor) -> float:
        """|r|^2 - |r + J v|^2 for a step v, [T], to rounding."""
        return float(-2 * self.gradient.dot(step) - step.dot(self._product(step)))

    def steepest(self) -> float:
        """|J^T r| / (|J| |r|), |J| being the largest singular value."""
        below = math.sqrt(self.largest() * float(self.losses.sum()))
        return float(self.gradient.norm()) / below if below else 0.0

    def largest(self) -> float:
        """Largest eigenvalue of A, about, and from below; nan where A is not finite."""
        return self.nystrom.largest

    def _product(self, vector: Tensor) -> Tensor:
        return self.residuals.transposed(self.residuals.path([vector]))

    def _solve(self, right: Tensor) -> Tensor:
        found, _ = conjugate_gradients(
            lambda v: self._product(v) + self.damping * v, right,
            lambda v: self.nystrom.precondition(v, self.damping), self.tolerance, self.most,
            self.anywhere,
        )  # fmt: skip
        return found
