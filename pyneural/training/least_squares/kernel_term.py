"""A term that a kernel computes with its Jacobian, Gram matrix and derivatives along paths."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.ops import GroupedSquare
from pyneural.training.least_squares.parameter_map import ParameterMap
from pyneural.training.least_squares.source import Source, Square
from pyneural.training.least_squares.term import SquaredTerm

_CHUNK = 1 << 22  # numbers of a Jacobian at once


class KernelTerm(SquaredTerm):
    """A mean square whose points and columns do not depend on the trained parameters.

    Args:
        name: of the term.
        source: gives the mean square.
        weight: that the mean square is multiplied with.
    """

    def __init__(self, name: str, source: Source, weight: float) -> None:
        self.name, self.weight = name, weight
        self._source = source

    def count(self) -> int:
        """R."""
        square = self._square
        return square.equations * square.squares

    def residuals(self) -> Tensor:
        """The residuals, [R], equations one after the other."""
        square = self._square
        with torch.no_grad():
            return square.residuals().double().flatten() * self._root(square)

    def loss(self) -> Tensor:
        """The sum of squares, []."""
        square = self._square
        with torch.no_grad():
            return square.loss().double() * self.weight

    def jacobian(self) -> Tensor:
        """The transposed Jacobian, [T, R]."""
        square, kernel = self._square, self._map
        with torch.no_grad():
            return kernel.pull(square.jacobian()[1].double().flatten(1)) * self._root(square)

    @torch.no_grad()
    def gram(self) -> tuple[Tensor, Tensor, Tensor]:
        """The loss [], half its gradient [T], and the Gram matrix [T, T], in one pass."""
        square, kernel = self._square, self._map
        if isinstance(square, GroupedSquare) or self._selects(kernel):
            loss, gradient, gram = self._gram_of_jacobian(square, kernel)
        else:
            loss, gradient, gram = (each.double() for each in square.gram())
            gradient, gram = kernel.pull(gradient), kernel.gram(gram)
        if self.weight != 1.0:
            loss, gradient = loss * self.weight, gradient * self.weight
            gram *= self.weight
        return loss, gradient, gram

    def path(self, directions: Tensor) -> Tensor:
        """Derivatives of the residuals along a path of theta, [K, T] to [K, R]."""
        square, kernel = self._square, self._map
        path = kernel.push(directions.double())
        with torch.no_grad():
            return square.path(path.to(square.x)).double().flatten(1) * self._root(square)

    def vjp(self, vector: Tensor) -> Tensor:
        """J^T vector, [R] to [T]."""
        residuals = self._source.residuals(self.name)
        return self._source.gradients(residuals, vector).double() * self.weight**0.5

    def gram_bytes(self) -> int:
        """Memory that ``gram`` takes, its results included."""
        square, kernel = self._square, self._map
        results = 8 * kernel.size**2 + kernel.block_bytes
        if isinstance(square, GroupedSquare) or self._selects(kernel):
            return results + 8 * (kernel.kernel_size + kernel.size) * self._chunk(square, kernel)
        same = kernel.kernel_size == kernel.size and square.x.dtype == torch.float64
        return results + (0 if same else 8 * kernel.kernel_size**2)

    @property
    def _square(self) -> Square:
        return self._source.square(self.name)

    @property
    def _map(self) -> ParameterMap:
        source = self._source
        return source.kept(
            ("map", self.name), lambda: ParameterMap(self._square.tensors, source.parameters)
        )

    def _root(self, square: Square) -> float:
        return (self.weight / square.squares) ** 0.5

    @staticmethod
    def _selects(kernel: ParameterMap) -> bool:
        """Whether most of what the kernel's Gram matrix holds is not asked for."""
        return 2 * kernel.touched <= kernel.kernel_size

    @staticmethod
    def _chunk(square: Square, kernel: ParameterMap) -> int:
        size = square.size if isinstance(square, GroupedSquare) else 1
        row = kernel.kernel_size * square.equations * size
        return max(1, min(square.squares, _CHUNK // row))

    def _gram_of_jacobian(
        self, square: Square, kernel: ParameterMap
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same by the Jacobian, some points at a time."""
        count, step = square.squares, self._chunk(square, kernel)
        loss = square.x.new_zeros((), dtype=torch.float64)
        gradient = loss.new_zeros(kernel.size)
        gram = loss.new_zeros(kernel.size, kernel.size)
        for first in range(0, count, step):
            residuals, jacobian = square.chunk(first, min(first + step, count)).jacobian()
            r, jt = residuals.double().flatten(), kernel.pull(jacobian.double().flatten(1))
            loss += r @ r
            gradient += jt @ r
            gram.addmm_(jt, jt.T)
        return loss / count, gradient / count, gram.div_(count)
