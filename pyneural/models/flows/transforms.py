"""Invertible functions with the logarithm of their Jacobian's determinant.

They are ``torch.distributions.transforms.Transform`` without a cache. Beyond torch's, each gives
value and log-determinant in one pass, forwards (``call_and_ladj``) and backwards
(``inverse_and_ladj``): for a spline or a conditioner, half the work. D is the number of features.
"""

from __future__ import annotations

from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform


class FlowTransform(Transform):
    """A bijection that gives value and log-determinant together, in both directions.

    A subclass writes ``call_and_ladj`` and ``inverse_and_ladj``.
    """

    bijective = True

    def __init__(self) -> None:
        super().__init__(cache_size=0)

    @property
    def inv(self) -> Transform:
        """The inverse, which has ``call_and_ladj`` as well."""
        return InverseTransform(self)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Value y = f(x), and log |det df/dx|."""
        raise NotImplementedError

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse x = f^-1(y), and log |det dx/dy|, which is minus that of f."""
        raise NotImplementedError

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        return self.inverse_and_ladj(y)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-determinant log |det df/dx| at x; y is not needed."""
        return self.call_and_ladj(x)[1]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class InverseTransform(FlowTransform):
    """The inverse of a ``FlowTransform``."""

    def __init__(self, base: FlowTransform) -> None:
        super().__init__()
        self.base = base

    @property
    def domain(self) -> constraints.Constraint:  # type: ignore[override]
        """The codomain of what it inverts."""
        return self.base.codomain

    @property
    def codomain(self) -> constraints.Constraint:  # type: ignore[override]
        """The domain of what it inverts."""
        return self.base.domain

    @property
    def inv(self) -> Transform:
        """What it inverts."""
        return self.base

    def _call(self, x: Tensor) -> Tensor:
        return self.base._inverse(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.base._call(y)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse, and its log-determinant."""
        return self.base.inverse_and_ladj(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """What it inverts."""
        return self.base.call_and_ladj(y)

    def forward_shape(self, shape: Size) -> Size:
        """Shape of the output."""
        return self.base.inverse_shape(shape)

    def inverse_shape(self, shape: Size) -> Size:
        """Shape of the input."""
        return self.base.forward_shape(shape)

    def __repr__(self) -> str:
        return f"Inverse({self.base})"


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over the last dimensions, also of no elements, which torch's own refuses.

    >>> import torch
    >>> sum_rightmost(torch.ones(0, 3), 1).shape
    torch.Size([0])
    """
    return value.sum(list(range(-min(dims, value.dim()), 0))) if dims > 0 < value.dim() else value


def call_and_ladj(transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    """Value and log-determinant of any of torch's transforms.

    >>> import torch
    >>> from torch.distributions.transforms import ExpTransform
    >>> call_and_ladj(ExpTransform().inv, torch.tensor(1.0))
    (tensor(0.), tensor(-0.))
    """
    if hasattr(transform, "call_and_ladj"):
        return transform.call_and_ladj(x)
    y = transform(x)
    return y, transform.log_abs_det_jacobian(x, y)


class DependentTransform(FlowTransform):
    """A univariate transform of each of D features: their log-determinants are summed.

    Args:
        base: univariate transform.
        reinterpreted: how many of the last dimensions are one event.
    """

    def __init__(self, base: Transform, reinterpreted: int = 1) -> None:
        super().__init__()
        self.base, self.reinterpreted = base, reinterpreted

    @property
    def domain(self) -> constraints.Constraint:  # type: ignore[override]
        """That of the base, of vectors."""
        return constraints.independent(self.base.domain, self.reinterpreted)

    @property
    def codomain(self) -> constraints.Constraint:  # type: ignore[override]
        """That of the base, of vectors."""
        return constraints.independent(self.base.codomain, self.reinterpreted)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of each feature, and the sum."""
        y, ladj = call_and_ladj(self.base, x)
        return y, sum_rightmost(ladj, self.reinterpreted)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Of each feature, and the sum."""
        x, ladj = call_and_ladj(self.base.inv, y)
        return x, sum_rightmost(ladj, self.reinterpreted)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base}, {self.reinterpreted})"
