"""Masked autoregressive flows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions.transforms import Transform

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.models.flows.conditioner import MaskedMLP
from pyneural.models.flows.element_wise import (
    ElementWiseTransform,
    Shapes,
    Univariate,
    example,
    shortened,
    unpacked,
)
from pyneural.models.flows.flow import Bounds, Flow, standard_normal
from pyneural.models.flows.lazy import LazyTransform, with_context
from pyneural.models.flows.splines import MonotonicRQSTransform
from pyneural.models.flows.transforms import (
    AutoregressiveTransform,
    DependentTransform,
    MonotonicAffineTransform,
)
from pyneural.ops.reference.autoregressive import masks_of

_WHERE = "MaskedAutoregressiveTransform"


class MaskedAutoregressiveTransform(LazyTransform):
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
        super().__init__()
        self.univariate, self.shapes = univariate, shapes
        self.total = sum(prod(shape) for shape in shapes)
        self.register_buffer("order", None)
        self._known_degrees: tuple[list[tuple[int, int]], Tensor | None] | None = None
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
        return AutoregressiveTransform(partial(self.meta, c), self.passes, self._layer(c))

    def meta(self, c: Tensor | None, x: Tensor) -> Transform:
        """The univariate transforms whose parameters follow from x [..., D] and c [..., C]."""
        phi = unpacked(self.hyper(with_context(x, c)), self.shapes)
        return DependentTransform(self.univariate(*phi), 1)

    def _layer(self, c: Tensor | None) -> Callable[..., tuple[Tensor, Tensor]] | None:
        """The whole transform in one call of ``ops.autoregressive``; None where it has no kernel.

        It has one for affine transforms and splines of a plain network with masks by degrees.
        """
        plan, transform = self.hyper.plan(), _kernel_of(self.univariate, self.shapes)
        if plan is None or transform is None:
            return None
        (linears, activation), (name, bound, slope) = plan, transform
        degrees = self._degrees(linears)
        if degrees is None:
            return None
        weights, biases = [one.weight for one in linears], [one.bias for one in linears]

        def layer(x: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
            shape, context = x.shape[:-1], None
            if c is not None:
                shape = torch.broadcast_shapes(shape, c.shape[:-1])
                context = c.expand(*shape, c.shape[-1]).reshape(-1, c.shape[-1])
            rows = x.expand(*shape, x.shape[-1]).reshape(-1, x.shape[-1])
            y, ladj = ops.autoregressive(
                rows, context, weights, biases, degrees, activation, name, bound, slope, inverse
            )
            return y.reshape(*shape, x.shape[-1]), ladj.reshape(shape)

        return layer

    def _degrees(self, linears: Sequence[Any]) -> Tensor | None:
        """Those of features and hidden units; None where the masks, as loaded, follow from none."""
        if self.order is None:
            return None
        masks = [layer.mask for layer in linears]
        # Masks are read once, and again when they were loaded or moved.
        state = [(m.data_ptr(), m._version) for m in (self.order, *masks)]
        if self._known_degrees is None or self._known_degrees[0] != state:
            hidden = [layer.out_features for layer in linears[:-1]]
            has_context = masks[0].shape[1] > len(self.order)
            degrees = ops.autoregressive_degrees(self.order, hidden, has_context)
            implied = masks_of(degrees, [layer.weight for layer in linears], len(self.order))
            same = all(map(torch.equal, masks, implied))
            self._known_degrees = state, degrees if same else None
        return self._known_degrees[1]

    def extra_repr(self) -> str:
        """The univariate transform, and the order or the number of passes."""
        order = None if self.order is None else shortened(self.order.tolist())
        last = f"(passes): {self.passes}" if order is None else f"(order): {order}"
        return f"(base): {example(self.univariate, self.shapes)}\n{last}"


def _kernel_of(univariate: Univariate, shapes: Shapes) -> tuple[str, float, float] | None:
    """Name, bound and slope of a univariate transform that ``ops.autoregressive`` has, or None."""
    function: Any = univariate
    options: dict[str, float] = {}
    if isinstance(function, partial) and not function.args:
        function, options = function.func, function.keywords
    kind = [tuple(shape) for shape in shapes]
    bins = kind[0][0] if kind and kind[0] else 0
    usual = {
        MonotonicAffineTransform: ("affine", [(), ()]),
        MonotonicRQSTransform: ("spline", [(bins,), (bins,), (bins - 1,)]),
    }
    name, wanted = usual.get(function, (None, None))
    bound, slope = options.get("bound", 5.0), options.get("slope", 1e-3)
    if name is None or kind != wanted or not 1e-6 <= slope < 1:
        return None
    return name, bound, slope


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
        ArgumentError: bounds, an order or a graph that do not fit.

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
