"""A univariate transform of each feature, which does not depend on the other features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions.transforms import Transform

from pyneural.models.flows.affine import MonotonicAffineTransform
from pyneural.models.flows.conditioner import MLP
from pyneural.models.flows.lazy import LazyTransform
from pyneural.models.flows.transforms import DependentTransform

Univariate = Callable[..., Transform]
Shapes = Sequence[Sequence[int]]


class ElementWiseTransform(LazyTransform):
    """y_i = f(x_i; phi_i), with phi a function of the context or parameters of their own.

    This is what an autoregressive or coupling transform is for a single feature.

    Args:
        features: number of features D.
        context: number of context features C.
        univariate: makes f from its parameters.
        shapes: of the parameters of f.
        network: further arguments of the network, ``conditioner.MLP``.

    >>> transform = ElementWiseTransform(3, context=4)
    >>> transform(torch.zeros(4))(torch.zeros(5, 3)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        features: int,
        context: int = 0,
        univariate: Univariate = MonotonicAffineTransform,
        shapes: Shapes = ((), ()),
        **network: Any,
    ) -> None:
        super().__init__()
        self.univariate, self.shapes = univariate, shapes
        self.total = sum(prod(shape) for shape in shapes)
        if context > 0:
            self.hyper = MLP(context, features * self.total, **network)
        else:
            self.phi = nn.ParameterList(torch.randn(features, *shape) for shape in shapes)

    def forward(self, c: Tensor | None = None) -> Transform:
        """f(. | c)."""
        phi = list(self.phi) if c is None else unpacked(self.hyper(c), self.shapes)
        return DependentTransform(self.univariate(*phi), 1)

    def extra_repr(self) -> str:
        """The univariate transform."""
        return f"(base): {example(self.univariate, self.shapes)}"


def unpacked(phi: Tensor, shapes: Shapes) -> list[Tensor]:
    """The parameters of each of D univariate transforms, [..., D, *shape], of phi [..., D P].

    >>> [part.shape for part in unpacked(torch.zeros(7, 10), [(3,), (), ()])]
    [torch.Size([7, 2, 3]), torch.Size([7, 2]), torch.Size([7, 2])]
    """
    sizes = [prod(shape) for shape in shapes]
    parts = phi.unflatten(-1, (-1, sum(sizes))).split(sizes, -1)
    return [
        part.unflatten(-1, tuple(shape)) if shape else part.squeeze(-1)
        for part, shape in zip(parts, shapes, strict=True)
    ]


def example(univariate: Univariate, shapes: Shapes) -> Transform:
    """One of the transforms, for ``repr``; no random number is drawn for it."""
    return univariate(*(torch.zeros(shape) for shape in shapes))


def shortened(values: list[int]) -> str:
    """At most ten numbers.

    >>> shortened(list(range(64)))
    '[0, 1, 2, 3, 4, ..., 59, 60, 61, 62, 63]'
    """
    if len(values) <= 10:
        return str(values)
    ends = [", ".join(map(str, part)) for part in (values[:5], values[-5:])]
    return f"[{ends[0]}, ..., {ends[1]}]"
