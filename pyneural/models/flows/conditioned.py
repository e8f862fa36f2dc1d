"""Transforms of features whose parameters a network gives from other features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyneural.models.flows.fused import FusedLayers
from pyneural.models.flows.transforms import FlowTransform, call_and_ladj
from pyneural.ops.transforms import by_torch_func


class FusedTransform(FlowTransform):
    """Layers of a flow, one after the other, in one call.

    Args:
        fused: the layers; a subclass may do without.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, fused: FusedLayers | None) -> None:
        super().__init__()
        self.fused = fused

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One pass of each network."""
        return self._transformed(x) if self.fused is None else self.fused(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """By substitution, from the last layer on."""
        return self._solved(y) if self.fused is None else self.fused(y, inverse=True)

    def _transformed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Value and log-determinant, step by step."""
        raise NotImplementedError

    def _solved(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the inverse."""
        raise NotImplementedError


class AutoregressiveTransform(FusedTransform):
    """y_i = f(x_i | x_j for the j before i): the Jacobian is triangular.

    The inverse solves for x by substitution, in as many passes as there are groups of features:

        x <- f^-1(y | x),  started at 0

    Args:
        meta: gives the univariate transform of all features, an event, from x [..., D].
        passes: groups of features; a feature depends on those of the groups before its own.
        fused: the same where one call computes all of it; None to take ``meta``.

    Source: Papamakarios et al. 2017, arXiv:1705.07057; Kingma et al. 2016, arXiv:1606.04934.
    """

    def __init__(
        self,
        meta: Callable[[Tensor], Transform],
        passes: int,
        fused: FusedLayers | None = None,
    ) -> None:
        super().__init__(fused)
        self.meta, self.passes = meta, passes

    def _transformed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return call_and_ladj(self.meta(x), x)

    def _solved(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """As many passes as there are groups; the last one has all features right."""
        x = torch.zeros_like(y)
        for _ in range(self.passes - 1):
            x = self.meta(x).inv(y)
        return call_and_ladj(self.meta(x).inv, y)


class CouplingTransform(FusedTransform):
    """y_a = x_a and y_b = f(x_b | x_a): both directions take one pass of the conditioner.

    Args:
        meta: gives the univariate transform of x_b, an event, from x_a.
        mask: [D], True for the features x_a, which stay.
        fused: as for ``AutoregressiveTransform``.
        stay: how many stay, for a mask without values that can be read: of a meta device, of
            ``torch.func`` or while compiled.

    Source: Dinh et al. 2014, arXiv:1410.8516; 2016, arXiv:1605.08803.
    """

    def __init__(
        self,
        meta: Callable[[Tensor], Transform],
        mask: Tensor,
        fused: FusedLayers | None = None,
        stay: int | None = None,
    ) -> None:
        super().__init__(fused)
        self.meta, self.mask, self.stay = meta, mask, stay

    def _transformed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._with_parts(x, self.meta)

    def _solved(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._with_parts(y, lambda y_a: self.meta(y_a).inv)

    def _with_parts(
        self, x: Tensor, transform_of: Callable[[Tensor], Transform]
    ) -> tuple[Tensor, Tensor]:
        """Both parts in the order of the features; a context may have given b more dimensions."""
        # Sorted rather than looked up: the members of an ensemble may have masks of their own.
        columns = self.mask.argsort(descending=True, stable=True)
        back, stay = columns.argsort(), self._count()
        x_a, x_b = x[..., columns].split([stay, len(columns) - stay], -1)
        y_b, ladj = call_and_ladj(transform_of(x_a), x_b)
        x_a = x_a.expand(*y_b.shape[:-1], stay)
        return torch.cat([x_a, y_b], -1)[..., back], ladj

    def _count(self) -> int:
        unreadable = self.mask.is_meta or by_torch_func() or is_dynamo_compiling()
        return int(self.mask.sum()) if self.stay is None or not unreadable else self.stay
