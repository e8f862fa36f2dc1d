"""A mean of squared residuals that is not computed yet: what a loss and least squares begin with.

Letters: N points, D inputs, E equations, P parameters, Q coefficients, R columns, M = P + Q.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

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

    def chunk(self, first: int, last: int) -> MeanSquare:
        """The same at points first to last - 1."""
        columns = None if self.columns is None else self.columns[:, first:last]
        return self._replace(x=self.x[..., first:last, :], columns=columns)
