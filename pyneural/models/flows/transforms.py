"""Invertible functions with the logarithm of their Jacobian's determinant.

They are ``torch.distributions.transforms.Transform`` without a cache. Beyond torch's, each gives
value and log-determinant in one pass, forwards (``call_and_ladj``) and backwards
(``inverse_and_ladj``): for a spline or a conditioner, half the work. D is the number of features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from textwrap import indent
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform
from torch.distributions.utils import _sum_rightmost as sum_rightmost


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


def call_and_ladj(transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    """Value and log-determinant of any of torch's transforms.

    >>> from torch.distributions.transforms import ExpTransform
    >>> call_and_ladj(ExpTransform().inv, torch.tensor(1.0))
    (tensor(0.), tensor(-0.))
    """
    if hasattr(transform, "call_and_ladj"):
        return transform.call_and_ladj(x)
    y = transform(x)
    return y, transform.log_abs_det_jacobian(x, y)


class ComposedTransform(FlowTransform):
    """f = f_n o ... o f_1; the log-determinants add up.

    Args:
        transforms: f_1, ..., f_n, at least one, ours or torch's.

    >>> f = ComposedTransform(MonotonicAffineTransform(torch.ones(2), torch.zeros(2)))
    >>> f.call_and_ladj(torch.zeros(2))
    (tensor([1., 1.]), tensor([0., 0.]))
    """

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        if not transforms:
            raise ValueError(
                "ComposedTransform: transforms: expected at least one, got none; give the identity "
                "as MonotonicAffineTransform(zeros, zeros)"
            )
        self.transforms = transforms
        dim = 0
        for t in reversed(transforms):
            dim = t.domain.event_dim + max(dim - t.codomain.event_dim, 0)
        self.domain_dim = dim
        self.codomain_dim = dim + sum(t.codomain.event_dim - t.domain.event_dim for t in transforms)

    @property
    def domain(self) -> constraints.Constraint:  # type: ignore[override]
        """That of the first one."""
        return _vectors(self.transforms[0].domain, self.domain_dim)

    @property
    def codomain(self) -> constraints.Constraint:  # type: ignore[override]
        """That of the last one."""
        return _vectors(self.transforms[-1].codomain, self.codomain_dim)

    def _call(self, x: Tensor) -> Tensor:
        for t in self.transforms:
            x = t(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for t in reversed(self.transforms):
            y = t.inv(y)
        return y

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(x), and the sum of the log-determinants."""
        return _in_turn(self.transforms, x, self.domain_dim)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """f^-1(y), and the sum of the log-determinants."""
        return _in_turn([t.inv for t in reversed(self.transforms)], y, self.codomain_dim)

    def forward_shape(self, shape: Size) -> Size:
        """Shape of the output."""
        for t in self.transforms:
            shape = t.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: Size) -> Size:
        """Shape of the input."""
        for t in reversed(self.transforms):
            shape = t.inverse_shape(shape)
        return shape

    def __repr__(self) -> str:
        lines = "\n".join(f"({i}): {t}" for i, t in enumerate(self.transforms))
        return f"{type(self).__name__}(\n{indent(lines, '  ')}\n)"


def _in_turn(transforms: Any, x: Tensor, event_dim: int) -> tuple[Tensor, Tensor]:
    total: Any = 0
    for t in transforms:
        x, ladj = call_and_ladj(t, x)
        total = total + sum_rightmost(ladj, event_dim - t.domain.event_dim)
        event_dim += t.codomain.event_dim - t.domain.event_dim
    return x, total


def _vectors(constraint: constraints.Constraint, event_dim: int) -> constraints.Constraint:
    missing = event_dim - constraint.event_dim
    return constraints.independent(constraint, missing) if missing > 0 else constraint


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


class AutoregressiveTransform(FlowTransform):
    """y_i = f(x_i | x_j for the j before i): the Jacobian is triangular.

    The inverse solves for x by substitution, in as many passes as there are groups of features:

        x <- f^-1(y | x),  started at 0

    Args:
        meta: gives the univariate transform of all features, an event, from x [..., D].
        passes: groups of features; a feature depends on those of the groups before its own.
        layer: value and log-determinant of x, or with ``inverse=True`` those of the inverse, where
            one call computes them all; None to take ``meta``.

    Source: Papamakarios et al. 2017, arXiv:1705.07057; Kingma et al. 2016, arXiv:1606.04934.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(
        self,
        meta: Callable[[Tensor], Transform],
        passes: int,
        layer: Callable[..., tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.meta, self.passes, self.layer = meta, passes, layer

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One pass of the conditioner."""
        if self.layer is not None:
            return self.layer(x)
        return call_and_ladj(self.meta(x), x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """As many passes as there are groups; the last one has all features right."""
        if self.layer is not None:
            return self.layer(y, inverse=True)
        x = torch.zeros_like(y)
        for _ in range(self.passes - 1):
            x = self.meta(x).inv(y)
        return call_and_ladj(self.meta(x).inv, y)


class CouplingTransform(FlowTransform):
    """y_a = x_a and y_b = f(x_b | x_a): both directions take one pass of the conditioner.

    Args:
        meta: gives the univariate transform of x_b, an event, from x_a.
        mask: [D], True for the features x_a, which stay.
        layer: as for ``AutoregressiveTransform``.

    Source: Dinh et al. 2014, arXiv:1410.8516; 2016, arXiv:1605.08803.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(
        self,
        meta: Callable[[Tensor], Transform],
        mask: Tensor,
        layer: Callable[..., tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.meta, self.mask, self.layer = meta, mask, layer

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One pass of the conditioner."""
        if self.layer is not None:
            return self.layer(x)
        return self._transformed(x, self.meta)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """One pass of the conditioner."""
        if self.layer is not None:
            return self.layer(y, inverse=True)
        return self._transformed(y, lambda y_a: self.meta(y_a).inv)

    def _transformed(
        self, x: Tensor, transform_of: Callable[[Tensor], Transform]
    ) -> tuple[Tensor, Tensor]:
        """Both parts in the order of the features; a context may have given b more dimensions."""
        columns = torch.cat([self.mask.nonzero().squeeze(-1), (~self.mask).nonzero().squeeze(-1)])
        stay = int(self.mask.sum())
        x_a, x_b = x[..., columns].split([stay, len(columns) - stay], -1)
        y_b, ladj = call_and_ladj(transform_of(x_a), x_b)
        x_a = x_a.expand(*y_b.shape[:-1], stay)
        return torch.cat([x_a, y_b], -1)[..., columns.argsort()], ladj


class AdditiveTransform(FlowTransform):
    """f(x) = x + b.

    Args:
        shift: b, [...].

    Source: Dinh et al. 2014, arXiv:1410.8516.
    """

    domain = constraints.real
    codomain = constraints.real
    sign = +1

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.shift = shift

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The sum x + b, and 0."""
        return x + self.shift, torch.zeros_like(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The difference y - b, and 0."""
        return y - self.shift, torch.zeros_like(y)


class MonotonicAffineTransform(FlowTransform):
    """f(x) = exp(a') x + b,  a' = a / (1 + |a / log slope|).

    The soft clipping keeps the scale between the slope and its inverse.

    Args:
        shift: b, [...].
        scale: a, unconstrained logarithm of the scale, [...].
        slope: smallest scale.
    """

    domain = constraints.real
    codomain = constraints.real
    sign = +1

    def __init__(self, shift: Tensor, scale: Tensor, slope: float = 1e-3) -> None:
        super().__init__()
        self.shift = shift
        self.log_scale = scale / (1 + abs(scale / math.log(slope)))
        self.scale = self.log_scale.exp()

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """exp(a') x + b, and a'."""
        y = x * self.scale + self.shift
        return y, self.log_scale.expand_as(y)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(y - b) / exp(a'), and -a'."""
        x = (y - self.shift) / self.scale
        return x, -self.log_scale.expand_as(x)
