"""A term that torch's automatic differentiation computes, whatever its residuals are."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from pyneural.training.least_squares.along_path import derivatives_along
from pyneural.training.least_squares.parameter_map import batched_gradients, unit_vectors
from pyneural.training.least_squares.source import Source
from pyneural.training.least_squares.term import SquaredTerm

_CHUNK = 1 << 22  # numbers of a batch of gradients
MANY = 1000  # residuals, for which it takes seconds
_ACTIVATIONS = 64  # numbers that a backward pass holds for each residual, about


class AutogradTerm(SquaredTerm):
    """Residuals as any function of the parameters that autograd differentiates.

    The Jacobian takes a backward pass for each residual, many at a time.

    Args:
        name: of the term.
        source: gives the residuals, whose sum of squares is the term without its weight.
        weight: that the sum is multiplied with.
        reason: why no kernel computes it, for a warning where that takes long.
    """

    def __init__(self, name: str, source: Source, weight: float, reason: str = "") -> None:
        self.name, self.weight, self.reason = name, weight, reason
        self._source = source

    def count(self) -> int:
        """R."""
        return len(self._residuals())

    def residuals(self) -> Tensor:
        """The residuals, [R]."""
        return self._residuals().detach().double() * self.weight**0.5

    def jacobian(self) -> Tensor:
        """The transposed Jacobian, [T, R]."""
        residuals, parameters = self._residuals(), self._source.parameters
        if len(residuals) >= MANY:
            self._warn(len(residuals))
        found = torch.zeros(
            self._source.size, len(residuals), dtype=torch.float64, device=residuals.device
        )
        if residuals.requires_grad:
            for rows in torch.arange(len(residuals), device=residuals.device).split(self._chunk):
                units = unit_vectors(rows, residuals)
                found[:, rows] = batched_gradients(residuals, parameters, units).T.double()
        return found.mul_(self.weight**0.5)

    def gram(self) -> tuple[Tensor, Tensor, Tensor]:
        """The loss [], half its gradient [T], and the Gram matrix [T, T]."""
        jacobian, residuals = self.jacobian(), self.residuals()
        return residuals @ residuals, jacobian @ residuals, jacobian @ jacobian.T

    def path(self, directions: Tensor) -> Tensor:
        """Derivatives of the residuals along a path of theta, [K, T] to [K, R]."""
        parameters, residuals = self._source.parameters, self._residuals()
        parts = directions.split([p.numel() for p in parameters], 1)
        paths = [
            part.reshape(-1, *p.shape).to(p) for part, p in zip(parts, parameters, strict=True)
        ]
        found = derivatives_along(residuals, parameters, paths)
        return torch.stack(found).double() * self.weight**0.5

    def vjp(self, vector: Tensor) -> Tensor:
        """J^T vector, [R] to [T]."""
        found = self._source.gradients(self._residuals(), vector)
        return found.double() * self.weight**0.5

    def gram_bytes(self) -> int:
        """Memory that ``gram`` takes, its results included."""
        return 8 * self._source.size * (self._source.size + len(self._residuals()))

    def _residuals(self) -> Tensor:
        """Those of the term without its weight, with their graph."""
        return self._source.residuals(self.name)

    def _warn(self, count: int) -> None:
        kind = type(self._source.model).__name__
        warnings.warn(
            f"{kind}: term {self.name!r}: {self.reason}, so that its Jacobian takes a backward "
            f"pass for each of its {count} residuals; take Adam or LBFGS, or fewer points",
            stacklevel=4,
        )

    @property
    def _chunk(self) -> int:
        row = self._source.size + _ACTIVATIONS * len(self._residuals())
        return max(1, _CHUNK // row)
