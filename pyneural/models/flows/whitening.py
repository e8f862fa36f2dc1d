"""Whitening: columns without means, correlations and units."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform
from torch.nn import functional as F

from pyneural.errors import check_argument
from pyneural.models.flows.columns import check_columns, column_name
from pyneural.models.flows.lazy import LazyTransform
from pyneural.models.flows.transforms import FlowTransform

# Smallest share of a column's variance that the columns before it leave unexplained. Covariances
# are computed in float64, of data that may have been rounded to float32.
_SINGULAR = 1e-10


class WhiteningTransform(FlowTransform):
    """z = L^-1 (x - m).

    Args:
        mean: m, [D].
        factor: L, [D, D], lower triangular.
        inverse: L^-1.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, mean: Tensor, factor: Tensor, inverse: Tensor) -> None:
        super().__init__()
        self.mean, self.factor, self.inverse = mean, factor, inverse

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The whitened rows z [..., D], and -sum_i log L_ii."""
        return F.linear(x - self.mean, self.inverse), self._ladj(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The data m + L z, and sum_i log L_ii."""
        return self.mean + F.linear(y, self.factor), -self._ladj(y)

    def _ladj(self, x: Tensor) -> Tensor:
        return -self.factor.diagonal().log().sum().expand(x.shape[:-1])


class Whitening(LazyTransform):
    """z = L^-1 (x - m), with m the mean and L L^T the covariance of data: Cholesky whitening.

    A flow of whitened data need not learn the scales and linear correlations of the columns, which
    its splines, on [-5, 5], cannot in most cases. It is kept in buffers and is not trained.

    Args:
        features: D; z = x until ``set_from``.

    Source: Kessy, Lewin and Strimmer 2018, The American Statistician 72, 309.

    >>> x = torch.randn(1000, 2) @ torch.tensor([[3.0, 0.0], [2.9, 0.1]])
    >>> whitening = Whitening(2)
    >>> whitening.set_from(x)
    >>> whitening()(x).T.cov().round(decimals=3)
    tensor([[1., -0.],
            [-0., 1.]])
    """

    mean: Tensor
    factor: Tensor
    inverse: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("factor", torch.eye(features))
        self.register_buffer("inverse", torch.eye(features))

    def forward(self, c: Tensor | None = None) -> Transform:
        """The transform; the context is not used."""
        return WhiteningTransform(self.mean, self.factor, self.inverse)

    @torch.no_grad()
    def set_from(
        self,
        x: Tensor,
        where: str = "Whitening: x",
        names: Any = None,
        columns: Tensor | None = None,
    ) -> None:
        """Takes mean and covariance of data, [N, D].

        Args:
            x: data.
            where: who asks, for the text of errors.
            names: of the columns, for the same.
            columns: numbers of those to be whitened, the others staying as they are; None for all.

        Raises:
            ValueError: a column that is constant, has values that are not finite, or is a linear
                combination of those before it.
        """
        check_columns(where, x, names)
        columns = torch.arange(x.shape[1]) if columns is None else columns
        x = x[:, columns].double()
        mean, std = x.mean(0), x.std(0)
        # Of columns of variance 1, whose units do not matter.
        correlation = ((x - mean) / std).T.cov().reshape(len(mean), -1)
        factor, failed = torch.linalg.cholesky_ex(correlation)
        pivots = factor.diagonal().square()
        first = int(failed) - 1 if failed else int((pivots < _SINGULAR).int().argmax())
        good, name = (
            not failed and bool((pivots >= _SINGULAR).all()),
            column_name(int(columns[first]), names),
        )
        expected = "columns of which none is a linear combination of others"
        got = f"a singular covariance of {len(x):,} rows: {name} follows from those before it"
        remedy = f"leave it out, give more than {len(mean)} rows, or write fit(whiten=False)"
        check_argument(good, where, expected, got, remedy)
        factor = std[:, None] * factor
        inverse = torch.linalg.solve_triangular(
            factor, torch.eye(len(mean), dtype=x.dtype, device=x.device), upper=False
        )
        self.mean[columns] = mean.to(self.mean)
        square = columns[:, None], columns
        self.factor[square], self.inverse[square] = factor.to(self.mean), inverse.to(self.mean)

    def extra_repr(self) -> str:
        """Number of features."""
        return str(len(self.mean))
