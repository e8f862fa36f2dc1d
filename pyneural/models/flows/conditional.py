"""What autoregressive and coupling transforms share: one network that gives all parameters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions.transforms import Transform

from pyneural.models.flows.affine import MonotonicAffineTransform
from pyneural.models.flows.conditioner import plan_of
from pyneural.models.flows.element_wise import Shapes, Univariate, example, unpacked
from pyneural.models.flows.fused import FusedLayers
from pyneural.models.flows.lazy import LazyTransform, with_context
from pyneural.models.flows.splines import MonotonicRQSTransform
from pyneural.models.flows.transforms import DependentTransform
from pyneural.ops.transforms import outside_of_graphs


class ConditionalTransform(LazyTransform):
    """Univariate transforms f whose parameters phi(x, c) the network ``hyper`` gives.

    Args:
        univariate: makes f from its parameters.
        shapes: of the parameters of f.
    """

    hyper: Any
    _masked: ClassVar[bool] = False  # whether the degrees say which masks the layers have

    def __init__(self, univariate: Univariate, shapes: Shapes) -> None:
        super().__init__()
        self.univariate, self.shapes = univariate, shapes
        self.total = sum(prod(shape) for shape in shapes)
        self._kernel = _kernel_of(univariate, shapes)
        self._known_degrees: tuple[list[tuple[int, int]], Any, Tensor | None] | None = None

    def meta(self, c: Tensor | None, x: Tensor) -> Transform:
        """The univariate transforms whose parameters follow from what x the network sees and c."""
        phi = unpacked(self.hyper(with_context(x, c)), self.shapes)
        return DependentTransform(self.univariate(*phi), 1)

    @outside_of_graphs  # what is read of the layers would be compiled anew when it changes
    def fused(self, c: Tensor | None) -> FusedLayers | None:
        """The whole transform as a call of ``ops.autoregressive``; None where it has no kernel.

        It has one for affine transforms and splines of a plain network, whose masks, if it has any,
        are by degrees.
        """
        if self._kernel is None or type(self).meta is not ConditionalTransform.meta:
            return None
        plan = plan_of(self.hyper, self._masked)
        if plan is None:
            return None
        degrees = self._degrees(plan.linears)
        if degrees is None:
            return None
        options = plan.activation, *self._kernel
        return FusedLayers(c, tuple(plan.weights), tuple(plan.biases), (degrees,), options)

    def _degrees(self, linears: Sequence[Any]) -> Tensor | None:
        """Those of features and hidden units, found anew when their tensors are loaded or moved.

        None for tensors of torch.func and others that stand for values. What is written into
        ``mask.data`` is not noticed.
        """
        tensors = self._tensors_of_degrees(linears)
        try:
            state = [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors]
        except RuntimeError:  # there is no memory behind it
            return None
        state += [(one.in_features, one.out_features) for one in linears]
        if self._known_degrees is None or self._known_degrees[0] != state:
            if any(type(t) is not Tensor or t.is_meta for t in tensors):
                return None
            with torch.inference_mode(False):
                degrees = self._find_degrees(linears)
            # Keeps the tensors, so that no other tensor gets their memory.
            self._known_degrees = state, tensors, degrees
        return self._known_degrees[2]

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
