"""Masked autoregressive flows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.distributions.transforms import Transform

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.models.flows.affine import MonotonicAffineTransform
from pyneural.models.flows.columns import check_counts
from pyneural.models.flows.conditional import ConditionalTransform
from pyneural.models.flows.conditioned import AutoregressiveTransform
from pyneural.models.flows.conditioner import MaskedMLP
from pyneural.models.flows.element_wise import ElementWiseTransform, Shapes, Univariate, shortened
from pyneural.models.flows.flow import Bounds, Flow
from pyneural.models.flows.lazy import standard_normal
from pyneural.ops.reference.autoregressive import masks_of

_WHERE = "MaskedAutoregressiveTransform"


class MaskedAutoregressiveTransform(ConditionalTransform):
    """y_i = f(x_i; phi_i(x_j for j before i, c)), with phi one masked network for all i.

    Args:
        features: number of features D. With a single one this is an ``ElementWiseTransform``.
        context: number of context features C.
        passes: groups that the features are divided into, in their order; those of a group do not
            depend on each other, and the inverse takes as many passes. None for D, which is fully
            autoregressive; 2 is coupling.
        order: place of each feature, [D]; None for 0, 1, ...
        adjacency: instead of these a graph, [D, D] or [D, D + C] of bool: whether y_i depends on
            x_j. Ones on the diagonal, and no cycles beside.
        univariate: makes f from its parameters.
        shapes: of the parameters of f.
        network: further arguments of the network, ``conditioner.MaskedMLP``.

    Raises:
        ArgumentError: an order or a graph that does not fit.

    Source: Papamakarios et al. 2017, arXiv:1705.07057.

    >>> transform = MaskedAutoregressiveTransform(3, context=4)(torch.zeros(4))
    >>> x = torch.randn(5, 3)
    >>> torch.allclose(transform.inv(transform(x)), x, atol=1e-5)
    True
    """

    order: Tensor | None

    _masked = True

    def __new__(
        cls,
        features: int | None = None,
        context: int = 0,
        passes: int | None = None,
        order: Any = None,
        adjacency: Any = None,
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
        passes: int | None = None,
        order: Sequence[int] | Tensor | None = None,
        adjacency: Tensor | None = None,
        univariate: Univariate = MonotonicAffineTransform,
        shapes: Shapes = ((), ()),
        **network: Any,
    ) -> None:
        super().__init__(univariate, shapes)
        self.register_buffer("order", None)
        if adjacency is None:
            place = torch.arange(features) if order is None else torch.as_tensor(order).long()
            _check(place.shape == (features,), "order", f"[{features}]", list(place.shape))
            self.passes = min(max(features if passes is None else passes, 1), features)
            self.order = place.div(ceil(features / self.passes), rounding_mode="floor")
            graph = self.order[:, None] > self.order
        else:
            graph = torch.as_tensor(adjacency, dtype=torch.bool)
            widths = (features, features + context)
            good = graph.dim() == 2 and len(graph) == features and graph.shape[1] in widths
            _check(good, "adjacency", f"[{features}, {' or '.join(map(str, widths))}]",
                   list(graph.shape))  # fmt: skip
            good = bool(graph.diagonal().all())
            _check(good, "adjacency", "ones on the diagonal", "zeros", "y_i depends on x_i")
            graph = graph.clone()
            graph.fill_diagonal_(False)
            self.passes = depth(graph[:, :features])
        if context and graph.shape[1] == features:
            graph = torch.cat([graph, graph.new_ones(features, context)], 1)
        self.hyper = MaskedMLP(graph.repeat_interleave(self.total, 0), **network)

    def forward(self, c: Tensor | None = None) -> Transform:
        """f(. | c)."""
        return AutoregressiveTransform(partial(self.meta, c), self.passes, self.fused(c))

    def _tensors_of_degrees(self, linears: Sequence[Any]) -> list[Tensor]:
        order = [] if self.order is None else [self.order]
        return order + [layer.mask for layer in linears]

    def _find_degrees(self, linears: Sequence[Any]) -> Tensor | None:
        """None where the masks, as loaded, follow from no degrees."""
        if self.order is None:
            return None
        hidden = [layer.out_features for layer in linears[:-1]]
        has_context = linears[0].in_features > len(self.order)
        degrees = ops.autoregressive_degrees(self.order, hidden, has_context)
        implied = masks_of(degrees, [layer.weight for layer in linears], len(self.order))
        same = all(map(torch.equal, [layer.mask for layer in linears], implied))
        return degrees if same else None

    def extra_repr(self) -> str:
        """The univariate transform, and the order or the number of passes."""
        order = None if self.order is None else shortened(self.order.tolist())
        last = f"(passes): {self.passes}" if order is None else f"(order): {order}"
        return f"{self._repr_of_base()}\n{last}"


def depth(graph: Tensor) -> int:
    """Number of nodes of the longest path of a graph [D, D] without cycles.

    >>> depth(torch.ones(3, 3).tril(-1).bool())
    3
    """
    left, generations = torch.ones(len(graph), dtype=torch.bool), 0
    while left.any():
        ready = left & ~(graph & left).any(1)
        _check(bool(ready.any()), "adjacency", "a graph without cycles", "one with a cycle")
        left, generations = left & ~ready, generations + 1
    return generations


def _check(good: bool, name: str, expected: str, got: Any, remedy: str = "correct it") -> None:
    if not good:
        raise ArgumentError(f"{_WHERE}: {name}: expected {expected}, got {got}; {remedy}")


class MAF(Flow):
    """Masked autoregressive flow.

        log p(x | c) = log N(z; 0, 1) + sum_k log |det df_k/dx|,  z = f_K o ... o f_1 (x | c)

    Density and training take one pass of each network; sampling takes D of them. Constructor and
    ``state_dict`` are those of zuko 1.6 but for ``bounds``.

    Args:
        features: number of features D.
        context: number of context features C.
        transforms: number K of autoregressive transforms.
        randperm: whether each has a random order of the features; else the order is reversed from
            one to the next.
        bounds: intervals of the features, see ``Flow``.
        transform: further arguments of ``MaskedAutoregressiveTransform``, as ``passes`` and
            ``hidden_features``.

    Raises:
        ArgumentError: numbers below 1, bounds, an order or a graph that do not fit.

    Source: Papamakarios et al. 2017, arXiv:1705.07057.

    >>> flow = MAF(3, context=4, transforms=3, hidden_features=[32, 32])
    >>> density = flow(torch.zeros(5, 4))
    >>> density.log_prob(density.sample()).shape
    torch.Size([5])
    """

    def __init__(
        self,
        features: int,
        context: int = 0,
        transforms: int = 3,
        randperm: bool = False,
        *,
        bounds: Bounds | None = None,
        **transform: Any,
    ) -> None:
        check_counts(self, features=features, context=context, transforms=transforms)
        forwards = torch.arange(features)
        orders = forwards, forwards.flip(0)
        layers = [
            MaskedAutoregressiveTransform(
                features=features,
                context=context,
                order=torch.randperm(features) if randperm else orders[i % 2],
                **transform,
            )
            for i in range(transforms)
        ]
        super().__init__(
            layers, standard_normal(features), features=features, context=context, bounds=bounds
        )
