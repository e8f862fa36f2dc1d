"""Layers of flows with random weights, and the same layers made by zuko."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from pyneural.ops.autoregressive import autoregressive_degrees, coupling_degrees

ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "silu": torch.nn.SiLU}


@dataclass(frozen=True)
class FlowLayer:
    """The arguments of ops.autoregressive."""

    x: Tensor
    context: Tensor | None
    weights: list[Tensor]
    biases: list[Tensor]
    degrees: Tensor | list[Tensor]  # a list of several layers in turn
    activation: str = "tanh"
    transform: str = "spline"
    order: Tensor | None = None  # that of the features, before the passes coarsen it
    passes: int | None = None
    stays: Tensor | None = None  # of a coupling layer, [D] of bool

    @staticmethod
    def random(
        features=5, context=0, hidden=(16, 16), rows=20, order=None, passes=None, bins=4,
        activation="tanh", transform="spline", dtype=torch.float64, seed=0, stays=None,
    ) -> FlowLayer:  # fmt: skip
        """``stays``, the columns that stay, makes it a coupling layer."""
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        order = torch.arange(features) if order is None else torch.as_tensor(order)
        coarse = order if passes is None else order // -(-features // passes)
        degrees = autoregressive_degrees(coarse, hidden, context > 0)
        seen = transformed = features
        if stays is not None:
            stays = (torch.arange(features)[:, None] == torch.as_tensor(stays)).any(1)
            degrees = coupling_degrees(stays, hidden)
            seen, transformed = int(stays.sum()), int((~stays).sum())
        parameters = 2 if transform == "affine" else 3 * bins - 1
        widths = [seen + context, *hidden, transformed * parameters]
        pairs = list(zip(widths[1:], widths[:-1], strict=True))
        return FlowLayer(
            2 * normal(rows, features),
            normal(rows, context) if context else None,
            [normal(out, into) * into**-0.5 for out, into in pairs],
            [0.3 * normal(out) for out, _ in pairs],
            degrees,
            activation,
            transform,
            order,
            passes,
            stays,
        )

    @property
    def tensors(self) -> list[Tensor]:
        """What has a gradient: x, the context where there is one, weights and biases."""
        context = [] if self.context is None else [self.context]
        return [self.x, *context, *self.weights, *self.biases]

    def of(self, tensors) -> FlowLayer:
        x, *rest = tensors
        context = None if self.context is None else rest.pop(0)
        layers = len(self.weights)
        return replace(
            self, x=x, context=context, weights=list(rest[:layers]), biases=list(rest[layers:])
        )

    def map(self, function) -> FlowLayer:
        return self.of([function(t) for t in self.tensors])

    def leaves(self) -> FlowLayer:
        return self.map(lambda t: t.detach().clone().requires_grad_())

    def at(self, x: Tensor) -> FlowLayer:
        return replace(self, x=x)

    @property
    def all_degrees(self) -> list[Tensor]:
        return [self.degrees] if isinstance(self.degrees, Tensor) else self.degrees

    def call(self, function, **options):
        """(y, ladj) of a function with the arguments of ops.autoregressive."""
        return function(
            self.x, self.context, self.weights, self.biases, self.all_degrees, self.activation,
            self.transform, **options,
        )  # fmt: skip

    def zuko(self):
        """The lazy transform of zuko with these weights."""
        flows = pytest.importorskip("zuko.flows")
        transforms = pytest.importorskip("zuko.transforms")
        features = self.x.shape[1]
        transformed = features if self.stays is None else int((~self.stays).sum())
        bins = (len(self.weights[-1]) // transformed + 1) // 3
        spline = {
            "univariate": transforms.MonotonicRQSTransform,
            "shapes": [(bins,), (bins,), (bins - 1,)],
        }
        kind, options = flows.MaskedAutoregressiveTransform, (self.passes, self.order)
        if self.stays is not None:
            kind, options = flows.coupling.GeneralCouplingTransform, (self.stays,)
        lazy = kind(
            features,
            0 if self.context is None else self.context.shape[1],
            *options,
            hidden_features=[len(w) for w in self.weights[:-1]],
            activation=ACTIVATIONS[self.activation],
            **(spline if self.transform == "spline" else {}),
        ).to(self.x.dtype)
        with torch.no_grad():
            for linear, *parts in zip(linears(lazy), self.weights, self.biases, strict=True):
                linear.weight.copy_(parts[0])
                linear.bias.copy_(parts[1])
        return lazy


def linears(lazy):
    """The linear layers of a lazy transform of zuko."""
    return [layer for layer in lazy.hyper if hasattr(layer, "weight")]
