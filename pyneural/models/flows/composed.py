"""Transforms one after the other, those that one call computes joined."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent
from typing import Any

from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyneural.models.flows.conditioned import (
    AutoregressiveTransform,
    CouplingTransform,
    FusedTransform,
)
from pyneural.models.flows.fused import FusedLayers
from pyneural.models.flows.transforms import FlowTransform, call_and_ladj, sum_rightmost


class ComposedTransform(FlowTransform):
    """f = f_n o ... o f_1; the log-determinants add up.

    Args:
        transforms: f_1, ..., f_n, at least one, ours or torch's.

    >>> import torch
    >>> from pyneural.models.flows.affine import MonotonicAffineTransform
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
        self._steps = _joined(transforms)
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
        for t in self._steps:
            x = t(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for t in reversed(self._steps):
            y = t.inv(y)
        return y

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(x), and the sum of the log-determinants."""
        return _in_turn(self._steps, x, self.domain_dim)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """f^-1(y), and the sum of the log-determinants."""
        return _in_turn([t.inv for t in reversed(self._steps)], y, self.codomain_dim)

    def mean_nll(self, x: Tensor) -> Tensor | None:
        """Mean of |f(x)|^2 / 2 + D / 2 log(2 pi) - ladj over rows x [N, D], in one call.

        None where the last step is no layers that one call computes.
        """
        *before, last = self.all_steps()
        layers = layers_of(last)
        if layers is None or self.domain_dim != 1:
            return None
        c = layers.context
        if c is not None and c.shape[:-1] not in ((), x.shape[:1]):
            return None
        if not before:
            return layers.mean_nll(x)
        y, ladj = _in_turn(before, x, 1)
        return layers.mean_nll(y) - ladj.mean() if y.dim() == 2 and len(y) == len(x) else None

    def all_steps(self) -> list[Transform]:
        """The steps, those of others of this class in their places."""
        steps: list[Transform] = []
        for t in self._steps:
            steps += t.all_steps() if type(t) is ComposedTransform else [t]
        return steps

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


def _joined(transforms: Sequence[Transform]) -> list[Transform]:
    """The same in turn, neighbours that one call computes joined."""
    steps: list[Transform] = []
    so_far: FusedLayers | None = None  # of the last step
    for t in transforms:
        own = layers_of(t)
        both = so_far.then(own) if so_far and own else None
        if both:
            steps.pop()
        elif so_far:
            steps[-1] = _step(steps[-1], so_far)
        steps.append(t)
        so_far = both or own
    if so_far:
        steps[-1] = _step(steps[-1], so_far)
    return steps


def _step(last: Transform, layers: FusedLayers) -> Transform:
    """The last of some transforms, or all of them, whose layers these are."""
    return last if layers_of(last) is layers else FusedTransform(layers)


def layers_of(t: Transform) -> FusedLayers | None:
    """What one call computes of a transform; None where it is not all of it."""
    # A subclass may be more than its layers.
    exactly = type(t) in (AutoregressiveTransform, CouplingTransform, FusedTransform)
    return t.fused if exactly else None  # type: ignore[attr-defined]


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
