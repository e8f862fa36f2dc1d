"""Layers of a flow that one call of ``ops.autoregressive`` computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyneural import ops


@dataclass(eq=False)
class FusedLayers:
    """Masked networks and their transforms, one after the other: arguments of the op.

    Args:
        context: c [..., C] of all layers, or None.
        weights, biases, degrees: see ``ops.autoregressive``.
        options: activation, transform, bound and slope.
    """

    context: Tensor | None
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    degrees: tuple[Tensor, ...]
    options: tuple[str, str, float, float]

    def then(self, other: FusedLayers) -> FusedLayers | None:
        """These layers and then others, in one; None where one call cannot have both."""
        first, theirs = self.weights[0], other.weights[0]
        same = (
            self.context is other.context
            and self.options == other.options
            and len(self.weights) * len(other.degrees) == len(other.weights) * len(self.degrees)
            and (first.dtype, first.device) == (theirs.dtype, theirs.device)
        )
        if not same:
            return None
        return FusedLayers(
            self.context,
            self.weights + other.weights,
            self.biases + other.biases,
            self.degrees + other.degrees,
            self.options,
        )

    def mean_nll(self, x: Tensor) -> Tensor:
        """Mean negative log-likelihood [] of rows x [N, D], where z is standard normal."""
        c = self.context if self.context is None else self.context.expand(len(x), -1)
        return ops.autoregressive_nll(x, c, self.weights, self.biases, self.degrees, *self.options)

    def __call__(self, x: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Value and log-determinant at x [..., D], or those of the inverse."""
        arguments = self.weights, self.biases, self.degrees, *self.options, inverse
        c = self.context
        if c is None and x.dim() == 2:
            return ops.autoregressive(x, None, *arguments)
        shape, rows_of_c = x.shape[:-1], None
        if c is not None:
            shape = torch.broadcast_shapes(shape, c.shape[:-1])
            rows_of_c = c.expand(*shape, c.shape[-1]).reshape(-1, c.shape[-1])
        rows = x.expand(*shape, x.shape[-1]).reshape(-1, x.shape[-1])
        y, ladj = ops.autoregressive(rows, rows_of_c, *arguments)
        return y.reshape(*shape, x.shape[-1]), ladj.reshape(shape)
