"""Continuous flows with random weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops.activations import derivatives


@dataclass(frozen=True)
class ContinuousFlow:
    """The arguments of ops.continuous_flow."""

    x: Tensor
    context: Tensor | None
    weights: list[Tensor]
    biases: list[Tensor]
    frequencies: list[float]
    activation: str

    @staticmethod
    def random(
        features=3, context=0, waves=3, hidden=(8, 7), rows=5, activation="tanh",
        dtype=torch.float64,
    ) -> ContinuousFlow:  # fmt: skip
        generator = torch.Generator().manual_seed(0)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        widths = [2 * waves + features + context, *hidden, features]
        return ContinuousFlow(
            normal(rows, features),
            normal(rows, context) if context else None,
            [normal(out, into) * into**-0.5 for into, out in pairwise(widths)],
            [0.3 * normal(out) for out in widths[1:]],
            [k * math.pi for k in range(1, waves + 1)],
            activation,
        )

    @property
    def tensors(self) -> list[Tensor]:
        """What has a gradient: x, the context where there is one, weights and biases."""
        context = [] if self.context is None else [self.context]
        return [self.x, *context, *self.weights, *self.biases]

    def of(self, tensors) -> ContinuousFlow:
        x, *rest = tensors
        context = None if self.context is None else rest.pop(0)
        layers = len(self.weights)
        return replace(
            self, x=x, context=context, weights=list(rest[:layers]), biases=list(rest[layers:])
        )

    def map(self, function) -> ContinuousFlow:
        return self.of([function(t) for t in self.tensors])

    def leaves(self) -> ContinuousFlow:
        return self.map(lambda t: t.detach().clone().requires_grad_())

    def arguments(self):
        return (
            self.x, self.context, self.weights, self.biases, self.frequencies, self.activation
        )  # fmt: skip

    def call(self, function=ops.continuous_flow, **options):
        return function(*self.arguments(), **options)

    def field(self, t, x):
        """The u and its Jacobian [N, D, D], product by product."""
        angles = torch.tensor(self.frequencies, dtype=x.dtype) * t
        time = torch.cat([angles.cos(), angles.sin()]).expand(len(x), -1)
        a = torch.cat([time, x] + ([] if self.context is None else [self.context]), 1)
        of_x = slice(len(angles) * 2, len(angles) * 2 + x.shape[1])
        jacobian = torch.eye(a.shape[1], dtype=x.dtype)[:, of_x].expand(len(x), -1, -1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            a, slope = derivatives(self.activation, a @ weight.T + bias, 1)
            jacobian = slope[:, :, None] * (weight @ jacobian)
        return a @ self.weights[-1].T + self.biases[-1], self.weights[-1] @ jacobian
