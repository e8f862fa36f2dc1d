"""A mean of squared residuals that is not computed yet: what a loss and least squares begin with.

Letters: N points, D inputs, E equations, P parameters, Q coefficients, R columns, M = P + Q.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from pyneural.errors import check_argument, is_whole
from pyneural.ops.jet.derivatives import Derivative
from pyneural.ops.jet.functional import jet_mlp_loss
from pyneural.ops.jet.least_squares import (
    jet_mlp_gram,
    jet_mlp_residual,
    jet_mlp_residual_jacobian,
)
from pyneural.ops.jet.path import jet_mlp_path
from pyneural.ops.jet.residual import ResidualProgram


class MeanSquare(NamedTuple):
    """The arguments of ``ops.jet_mlp_loss``, and what is computed from them.

        loss = (1 / N) sum_en r_e(x_n)^2

    A loss needs its gradient, a second-order solver the residuals' Jacobian, its Gram matrix or
    derivatives along a path. The tensors are those of the call that made it: where parameters
    have changed since, make another.

    Args:
        x: points, [N, D], or the jet of the inputs.
        weights: [out_l, in_l] each.
        biases: [out_l] each.
        activation: between the layers.
        derivatives: that the residual reads.
        residual: the program.
        coefficients: of the program, [Q], or None.
        columns: of the program, [R, N], or None.

    >>> import torch
    >>> from pyneural.ops import record_residual
    >>> x, weights, biases = torch.ones(4, 1), [torch.tensor([[2.0]])], [torch.zeros(1)]
    >>> program = record_residual(lambda jet, x, c: jet[1, 0] - 5)  # u_x - 5, u_x = 2
    >>> square = MeanSquare(x, weights, biases, "tanh", [(0,)], program)
    >>> square.loss(), square.residuals()
    (tensor(9.), tensor([[-3., -3., -3., -3.]]))
    """

    x: Tensor
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    activation: str
    derivatives: Sequence[Derivative]
    residual: ResidualProgram
    coefficients: Tensor | None = None
    columns: Tensor | None = None

    @property
    def points(self) -> int:
        """Number of points N."""
        return self.x.shape[-2]

    @property
    def tensors(self) -> list[Tensor]:
        """Weights and biases of layer by layer and the coefficients: all that theta [M] holds."""
        pairs = zip(self.weights, self.biases, strict=True)
        found = [tensor for pair in pairs for tensor in pair]
        return found if self.coefficients is None else [*found, self.coefficients]

    def loss(self) -> Tensor:
        """The mean square, [], differentiable, by ``ops.jet_mlp_loss``."""
        return jet_mlp_loss(*self)

    def residuals(self) -> Tensor:
        """The residuals, [E, N], differentiable, by ``ops.jet_mlp_residual``."""
        return jet_mlp_residual(*self)

    def jacobian(self) -> tuple[Tensor, Tensor]:
        """The residuals [E, N] and their transposed Jacobian [M, E, N]."""
        return jet_mlp_residual_jacobian(*self)

    def gram(self) -> tuple[Tensor, Tensor, Tensor]:
        """The loss [], half its gradient [M] and J^T J / N, [M, M], by ``ops.jet_mlp_gram``."""
        return jet_mlp_gram(*self)

    def path(self, path: Tensor) -> Tensor:
        """The residuals' derivatives along a path [K, M] of theta, [K, E, N]."""
        return jet_mlp_path(*self, path=path)

    @property
    def squares(self) -> int:
        """Number of squares of an equation that the loss is the mean of: that of points."""
        return self.points

    @property
    def equations(self) -> int:
        """Number of equations E."""
        return len(self.residual.residuals())

    def chunk(self, first: int, last: int) -> MeanSquare:
        """The same at points first to last - 1."""
        columns = None if self.columns is None else self.columns[:, first:last]
        return self._replace(x=self.x[..., first:last, :], columns=columns)


@dataclass(frozen=True)
class GroupedSquare:
    """A mean of squares of sums over groups of points: integrals, differences of pairs.

        loss = (1 / M) sum_em (sum_(n in group m) r_e(x_n) - target_em)^2

    Groups are of consecutive points, all of one size. Its Gram matrix is that of ``jacobian``: no
    kernel sums over groups.

    Args:
        square: the residuals at all points, each with the factor that it has in its sum.
        size: points of a group, a divisor of their number.
        target: that the sums are to be, [E, M]; None for 0.

    Raises:
        ArgumentError: a size that leaves points over, a target of another shape.

    >>> import torch
    >>> from pyneural.ops import record_residual
    >>> x, weights, biases = torch.tensor([[1.0], [3.0]]), [torch.ones(1, 1)], [torch.zeros(1)]
    >>> u = MeanSquare(x, weights, biases, "tanh", [], record_residual(lambda jet, x, c: jet[0, 0]))
    >>> GroupedSquare(u, 2).loss()  # (1 + 3)^2
    tensor(16.)
    """

    square: MeanSquare
    size: int
    target: Tensor | None = None

    def __post_init__(self) -> None:
        points, size = self.square.points, self.size
        good = is_whole(size) and size >= 1 and points % size == 0
        expected = f"a divisor of the number of points, {points}"
        check_argument(good, "GroupedSquare: size", expected, size, "make groups of one size")
        if self.target is not None:
            shape, got = [self.equations, self.squares], list(self.target.shape)
            remedy = "give one value for each equation and group"
            check_argument(got == shape, "GroupedSquare: target", str(shape), got, remedy)

    @property
    def x(self) -> Tensor:
        """The points."""
        return self.square.x

    @property
    def columns(self) -> Tensor | None:
        """The columns."""
        return self.square.columns

    @property
    def tensors(self) -> list[Tensor]:
        """Weights and biases of layer by layer and the coefficients."""
        return self.square.tensors

    @property
    def equations(self) -> int:
        """Number of equations E."""
        return self.square.equations

    @property
    def squares(self) -> int:
        """Number of groups M."""
        return self.square.points // self.size

    def loss(self) -> Tensor:
        """The mean square, [], differentiable."""
        return self.residuals().square().sum() / self.squares

    def residuals(self) -> Tensor:
        """The sums less their targets, [E, M], differentiable."""
        sums = self._sums(self.square.residuals())
        return sums if self.target is None else sums - self.target

    def jacobian(self) -> tuple[Tensor, Tensor]:
        """The residuals [E, M] and their transposed Jacobian [P + Q, E, M]."""
        residuals, jacobian = self.square.jacobian()
        sums = self._sums(residuals)
        return sums if self.target is None else sums - self.target, self._sums(jacobian)

    def path(self, path: Tensor) -> Tensor:
        """The residuals' derivatives along a path [K, P + Q] of theta, [K, E, M]."""
        return self._sums(self.square.path(path))

    def chunk(self, first: int, last: int) -> GroupedSquare:
        """The same of groups first to last - 1."""
        square = self.square.chunk(first * self.size, last * self.size)
        target = None if self.target is None else self.target[:, first:last]
        return GroupedSquare(square, self.size, target)

    def _sums(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (-1, self.size)).sum(-1)
