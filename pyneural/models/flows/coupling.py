"""Coupling flows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions.transforms import Transform

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.models.flows.affine import MonotonicAffineTransform
from pyneural.models.flows.columns import check_counts
from pyneural.models.flows.conditional import ConditionalTransform
from pyneural.models.flows.conditioned import CouplingTransform
from pyneural.models.flows.conditioner import MLP
from pyneural.models.flows.element_wise import ElementWiseTransform, Shapes, Univariate, shortened
from pyneural.models.flows.flow import Bounds, Flow
from pyneural.models.flows.lazy import standard_normal


class GeneralCouplingTransform(ConditionalTransform):
    """y_a = x_a,  y_b = f(x_b; phi(x_a, c)).

    Args:
        features: number of features D. With a single one this is an ``ElementWiseTransform``.
        context: number of context features C.
        mask: [D], True for the features a that stay; None for every second one.
        univariate: makes f from its parameters.
        shapes: of the parameters of f.
        network: further arguments of the network, ``conditioner.MLP``.

    Raises:
        ArgumentError: a mask of another length, or with one part empty.

    Source: Dinh et al. 2014, arXiv:1410.8516; 2016, arXiv:1605.08803.

    >>> transform = GeneralCouplingTransform(3)()
    >>> x = torch.randn(5, 3)
    >>> torch.equal(transform(x)[:, 1], x[:, 1])
    True
    """

    mask: Tensor

    def __new__(
        cls,
        features: int | None = None,
        context: int = 0,
        mask: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """An ``ElementWiseTransform`` for a single feature."""
        if features == 1:
            return ElementWiseTransform(features, context, *args, **kwargs)
        return super().__new__(cls)

    def __init__(
        self,
        features: int,
        context: int = 0,
        mask: Tensor | None = None,
        univariate: Univariate = MonotonicAffineTransform,
        shapes: Shapes = ((), ()),
        **network: Any,
    ) -> None:
        super().__init__(univariate, shapes)
        if mask is None:
            mask = torch.arange(features) % 2 == 1
        mask = torch.as_tensor(mask, dtype=torch.bool).clone()
        if mask.shape != (features,) or mask.all() or not mask.any():
            raise ArgumentError(
                f"GeneralCouplingTransform: mask: expected [{features}] with features of both "
                f"kinds, got {mask.int().tolist()}; None takes every second one"
            )
        self.register_buffer("mask", mask)
        self._stay = stay = int(mask.sum())
        self.hyper = MLP(stay + context, (features - stay) * self.total, **network)

    def forward(self, c: Tensor | None = None) -> Transform:
        """f(. | c)."""
        return CouplingTransform(partial(self.meta, c), self.mask, self.fused(c), self._stay)

    def _tensors_of_degrees(self, linears: Sequence[Any]) -> list[Tensor]:
        return [self.mask]

    def _find_degrees(self, linears: Sequence[Any]) -> Tensor:
        return ops.coupling_degrees(self.mask, [layer.out_features for layer in linears[:-1]])

    def extra_repr(self) -> str:
        """The univariate transform, and the mask."""
        mask = shortened(self.mask.int().tolist())
        return f"{self._repr_of_base()}\n(mask): {mask}"


class NICE(Flow):
    """Coupling flow: density and samples take one pass of each network.

    The transforms are affine, as in RealNVP, unless others are given; those of NICE are
    ``univariate=AdditiveTransform, shapes=[()]``.
    Constructor and ``state_dict`` are those of zuko 1.6 but for ``bounds``.

    Args:
        features: number of features D.
        context: number of context features C.
        transforms: number of coupling transforms.
        randmask: whether the features that stay are drawn at random; else every second one stays,
            and the others the next time.
        bounds: intervals of the features, see ``Flow``.
        transform: further arguments of ``GeneralCouplingTransform``.

    Raises:
        ArgumentError: numbers below 1, or bounds that do not fit.

    Source: Dinh et al. 2014, arXiv:1410.8516; 2016, arXiv:1605.08803.

    >>> flow = NICE(3, transforms=4, hidden_features=[32, 32])
    >>> flow().sample((5,)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        features: int,
        context: int = 0,
        transforms: int = 3,
        randmask: bool = False,
        *,
        bounds: Bounds | None = None,
        **transform: Any,
    ) -> None:
        check_counts(self, features=features, context=context, transforms=transforms)
        layers = [
            GeneralCouplingTransform(
                features=features,
                context=context,
                mask=(torch.randperm(features) if randmask else torch.arange(features)) % 2
                == i % 2,
                **transform,
            )
            for i in range(transforms)
        ]
        super().__init__(
            layers, standard_normal(features), features=features, context=context, bounds=bounds
        )


class RealNVP(NICE):
    """Coupling flow of affine transforms: y_b = exp(a(x_a)) x_b + b(x_a); see ``NICE``.

    Source: Dinh et al. 2016, arXiv:1605.08803.
    """
