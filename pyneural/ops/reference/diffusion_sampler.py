"""The loop of a diffusion's sampler in plain torch, with the noise that the kernels draw."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyneural.ops.activations import VALUES
from pyneural.ops.reference.mlp import mlp


def diffusion_sampler(
    x: Tensor, condition: Tensor | None, weights: Sequence[Tensor], biases: Sequence[Tensor],
    shifts: Tensor, coefficients: Tensor, seed: Tensor, activation: str, guidance: float,
) -> Tensor:  # fmt: skip
    """Each step after the other, [N, D]."""
    features = x.shape[1]
    of_x, of_condition = weights[0].split((features, weights[0].shape[1] - features), 1)
    first = biases[0] if condition is None else linear(condition, of_condition, biases[0])

    def network(x: Tensor, first: Tensor) -> Tensor:
        z = linear(x, of_x) + first
        if len(weights) == 1:
            return z
        return mlp(VALUES[activation](z), weights[1:], biases[1:], activation, "linear")

    values: list[Tensor] = []
    for i, (shift, row) in enumerate(zip(shifts, coefficients, strict=True)):
        a, c, *b = row
        f = network(x, first + shift)
        if guidance != 0:
            f = f + guidance * (f - network(x, biases[0] + shift))
        values = [f, *values[: len(b) - 1]]
        x = a * x + c * normal(seed, x, i)
        for factor, value in zip(b, values, strict=False):
            x = x + factor * value
    return x


def normal(seed: Tensor, like: Tensor, step: int) -> Tensor:
    """Noise of a step, [N, D]: Philox words of a counter for four columns, by Box and Muller."""
    rows, features = like.shape
    groups = -(-features // 4)
    device = like.device
    row = torch.arange(rows, device=device)[:, None].expand(rows, groups)
    counter = [
        torch.arange(groups, device=device).expand(rows, groups),
        row & _MASK,
        row >> 32,
        torch.full_like(row, step),
    ]
    words = _philox(seed.to(device).reshape(()), counter)
    u = [(word.to(like.dtype) + 0.5) * 2.0**-32 for word in words]
    columns = []
    for first, second in ((u[0], u[1]), (u[2], u[3])):
        radius, angle = (-2 * first.log()).sqrt(), 2 * math.pi * second
        columns += [radius * angle.cos(), radius * angle.sin()]
    return torch.stack(columns, -1).flatten(1)[:, :features]


_MASK = 0xFFFFFFFF


def _philox(seed: Tensor, counter: list[Tensor]) -> list[Tensor]:
    """Four words of 32 bits for each counter, as ``csrc/common/philox.h`` has it."""
    low, high = seed & _MASK, seed >> 32 & _MASK
    for _ in range(10):
        # What overflows 64 bits with a sign are the right bits all the same.
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            (b >> 32 & _MASK) ^ counter[1] ^ low,
            b & _MASK,
            (a >> 32 & _MASK) ^ counter[3] ^ high,
            a & _MASK,
        ]
        low, high = low + 0x9E3779B9 & _MASK, high + 0xBB67AE85 & _MASK
    return counter
