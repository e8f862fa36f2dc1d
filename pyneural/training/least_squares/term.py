"""A term of a loss as a sum of squares: what second-order solvers see."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class SquaredTerm(ABC):
    """One term of a loss, weighted, as a sum of squares of residuals.

        loss = sum_m r_m(theta)^2,   J = dr / dtheta

    Letters: R residuals, T numbers in theta, the flat vector of the parameters that are trained.
    All is computed at the values that the parameters have at the call, and given in float64
    whatever their dtype. The points and weights are those of the time when ``least_squares`` made
    the term.

    Attributes:
        name: of the term.
    """

    name: str

    @abstractmethod
    def count(self) -> int:
        """R."""

    @abstractmethod
    def residuals(self) -> Tensor:
        """The residuals, [R]."""

    @abstractmethod
    def jacobian(self) -> Tensor:
        """The transposed Jacobian J^T, [T, R]."""

    @abstractmethod
    def gram(self) -> tuple[Tensor, Tensor, Tensor]:
        """The loss [], half its gradient J^T r [T] and the Gram matrix J^T J [T, T]."""

    @abstractmethod
    def path(self, directions: Tensor) -> Tensor:
        """Derivatives of the residuals along a path of theta, [K, R].

            d^k r(theta + tau d_1 + tau^2 d_2 / 2 + ... + tau^K d_K / K!) / d tau^k,  k = 1 .. K

        Args:
            directions: d_1 to d_K, [K, T], K <= 4; with K = 1 the result is J d_1.
        """

    @abstractmethod
    def vjp(self, vector: Tensor) -> Tensor:
        """J^T vector, [R] to [T]."""

    @abstractmethod
    def gram_bytes(self) -> int:
        """Memory that ``gram`` takes, its results included."""

    def loss(self) -> Tensor:
        """The sum of squares, []."""
        return self.residuals().square().sum()
