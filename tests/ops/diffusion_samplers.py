"""Loops of samplers with random weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops.activations import VALUES

SEED = torch.tensor([1 << 40 | 12345])


@dataclass(frozen=True)
class DiffusionSampler:
    """The arguments of ops.diffusion_sampler."""

    x: Tensor
    condition: Tensor | None
    weights: list[Tensor]
    biases: list[Tensor]
    shifts: Tensor
    coefficients: Tensor
    activation: str
    guidance: float = 0.0

    @staticmethod
    def random(
        features=3, condition=0, hidden=(8, 7), rows=5, steps=4, memory=1, noise=0.0,
        activation="silu", guidance=0.0, dtype=torch.float64,
    ) -> DiffusionSampler:  # fmt: skip
        generator = torch.Generator().manual_seed(0)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        widths = [features + condition, *hidden, features]
        coefficients = normal(steps, 2 + memory) / 2
        coefficients[:, 0] = 0.9
        coefficients[:, 1] = noise
        return DiffusionSampler(
            normal(rows, features),
            normal(rows, condition) if condition else None,
            [normal(out, into) * into**-0.5 for into, out in pairwise(widths)],
            [0.3 * normal(out) for out in widths[1:]],
            normal(steps, widths[1]),
            coefficients,
            activation,
            guidance,
        )

    @property
    def tensors(self) -> list[Tensor]:
        """What has a gradient."""
        condition = [] if self.condition is None else [self.condition]
        return [
            self.x, *condition, *self.weights, *self.biases, self.shifts, self.coefficients
        ]  # fmt: skip

    def of(self, tensors) -> DiffusionSampler:
        x, *rest = tensors
        condition = None if self.condition is None else rest.pop(0)
        layers = len(self.weights)
        return replace(
            self, x=x, condition=condition, weights=rest[:layers],
            biases=rest[layers : 2 * layers], shifts=rest[-2], coefficients=rest[-1],
        )  # fmt: skip

    def map(self, function) -> DiffusionSampler:
        return self.of([function(t) for t in self.tensors])

    def leaves(self) -> DiffusionSampler:
        return self.map(lambda t: t.detach().clone().requires_grad_())

    def arguments(self, seed=SEED):
        """As the schema has them."""
        return (
            self.x, self.condition, self.weights, self.biases, self.shifts, self.coefficients,
            seed, self.activation, self.guidance,
        )  # fmt: skip

    def call(self, function=ops.diffusion_sampler, seed=SEED):
        *tensors, _, activation, guidance = self.arguments()
        return function(*tensors, activation, guidance=guidance, seed=seed)

    def network(self, x, condition, shift):
        """Layer by layer, of joined columns."""
        a = x if condition is None else torch.cat([x, condition], 1)
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = a @ weight.T + bias + (shift if i == 0 else 0)
            a = z if i == last else VALUES[self.activation](z)
        return a

    def by_steps(self, noise=None):
        """The loop as the docstring has it; noise of each step, [S, N, D]."""
        x, values = self.x, []
        for i, (a, c, *b) in enumerate(self.coefficients):
            f = self.network(x, self.condition, self.shifts[i])
            if self.guidance:
                zeros = torch.zeros_like(self.condition)
                f = f + self.guidance * (f - self.network(x, zeros, self.shifts[i]))
            values.append(f)
            x = a * x + (0 if noise is None else c * noise[i])
            x = x + sum(factor * f for factor, f in zip(b, reversed(values), strict=False))
        return x
