"""What autoregressive and coupling transforms share: one network that gives all parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions.transforms import Transform

from pyneural import ops
from pyneural.models.flows.element_wise import Shapes, Univariate, example, unpacked
from pyneural.models.flows.lazy import LazyTransform, with_context
from pyneural.models.flows.splines import MonotonicRQSTransform
from pyneural.models.flows.transforms import DependentTransform, MonotonicAffineTransform


class ConditionalTransform(LazyTransform):
    """Univariate transforms f whose parameters phi(x, c) the network ``hyper`` gives.

    Args:
        univariate: makes f from its parameters.
        shapes: of the parameters of f.
    """

    hyper: Any

    def __init__(self, univariate: Univariate, shapes: Shapes) -> None:
        super().__init__()
        self.univariate, self.shapes = univariate, shapes
        self.total = sum(prod(shape) for shape in shapes)
        self._kernel = _kernel_of(univariate, shapes)
        self._known_degrees: tuple[list[tuple[int, int]], Tensor | None] | None = None

    def meta(self, c: Tensor | None, x: Tensor) -> Transform:
        """The univariate transforms whose parameters follow from what x the network sees and c."""
        phi = unpacked(self.hyper(with_context(x, c)), self.shapes)
        return DependentTransform(self.univariate(*phi), 1)

    def layer(self, c: Tensor | None) -> Callable[..., tuple[Tensor, Tensor]] | None:
        """The whole transform in one call of ``ops.autoregressive``; None where it has no kernel.

        It has one for affine transforms and splines of a plain network, whose masks, if it has any,
        are by degrees. The function gives the value and the log-determinant of x [..., D], or those
        of the inverse with ``inverse=True``.
        """
        plan = None if self._kernel is None else self.hyper.plan()
        if self._kernel is None or plan is None:
            return None
        (linears, activation), (name, bound, slope) = plan, self._kernel
        degrees = self._degrees(linears)
        if degrees is None:
            return None
        weights, biases = [one.weight for one in linears], [one.bias for one in linears]

        def layer(x: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
            if c is None and x.dim() == 2:
                return ops.autoregressive(
                    x, None, weights, biases, degrees, activation, name, bound, slope, inverse
                )
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
        """Those of features and hidden units, found anew when their tensors are loaded or moved."""
        tensors = self._tensors_of_degrees(linears)
        state = [(tensor.data_ptr(), tensor._version) for tensor in tensors]
        if self._known_degrees is None or self._known_degrees[0] != state:
            self._known_degrees = state, self._find_degrees(linears)
        return self._known_degrees[1]

    def _tensors_of_degrees(self, linears: Sequence[Any]) -> list[Tensor]:
        """What the degrees follow from."""
        raise NotImplementedError

    def _find_degrees(self, linears: Sequence[Any]) -> Tensor | None:
        """The degrees; None where the dependencies follow from none."""
        raise NotImplementedError

    def _repr_of_base(self) -> str:
        return f"(base): {example(self.univariate, self.shapes)}"


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
