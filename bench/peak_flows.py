"""The ops of normalizing flows and diffusions for ``python -m bench peak``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from bench.peak_work import Work
from pyneural import ops
from pyneural.ops.reference.autoregressive import masks_of

BINS = 8  # of a spline


def network(
    widths: Sequence[int], dtype: torch.dtype, generator: torch.Generator
) -> tuple[list[Tensor], list[Tensor]]:
    """Random weights, and biases of zero."""
    weights = [
        (torch.randn(o, i, generator=generator, dtype=dtype) / i**0.5).requires_grad_()
        for i, o in pairwise(widths)
    ]
    return weights, [torch.zeros(w, dtype=dtype, requires_grad=True) for w in widths[1:]]


def call_of(
    op: Callable[[], tuple[Tensor, Tensor]], inputs: Sequence[Tensor], backward: bool
) -> Callable[[], Any]:
    """The op, or with the gradients of its value and log-determinant for the inputs."""

    def forward() -> Any:
        with torch.no_grad():
            return op()

    def both() -> Any:
        y, ladj = op()
        ones = torch.ones_like(y), torch.ones_like(ladj)
        return torch.autograd.grad((y, ladj), inputs, ones)

    return both if backward else forward


def of_autoregressive(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """Products with the weights that are not masked."""
    sizes, transform = text.split(":")
    rows, features, units = map(int, sizes.split("x"))
    hidden = [units, units]
    outputs = features * (2 if transform == "affine" else 3 * BINS - 1)
    degrees = ops.autoregressive_degrees(torch.arange(features), hidden, has_context=False)
    generator = torch.Generator().manual_seed(seed)
    widths = [features, *hidden, outputs]
    x = torch.randn(rows, features, generator=generator, dtype=dtype)
    weights, biases = network(widths, dtype, generator)

    def layer() -> Any:
        return ops.autoregressive(x, None, weights, biases, degrees, transform=transform)

    call = call_of(layer, [*weights, *biases], backward)
    edges = sum(int(mask.sum()) for mask in masks_of(degrees, weights, features))
    return Work(call, (6 if backward else 2) * rows * edges)


def of_continuous_flow(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """Products of the field, of its divergence and of their gradients, of each evaluation."""
    sizes, steps = text.split(":")
    rows, features, units = map(int, sizes.split("x"))
    generator = torch.Generator().manual_seed(seed)
    widths = [features, units, units, features]
    x = torch.randn(rows, features, generator=generator, dtype=dtype)
    weights, biases = network(widths, dtype, generator)

    def flow() -> Any:
        return ops.continuous_flow(x, None, weights, biases, steps=int(steps))

    call = call_of(flow, [*weights, *biases], backward)
    # Of the six evaluations of a step one has no divergence, which is a product with the coupling
    # of the two layers; the one at the end of a step belongs to the next.
    values, traces = 6 * int(steps), 5 * int(steps)
    edges, couplings = units * (2 * features + units), units * units
    products = (values + 1) * edges + (traces + 1) * couplings
    if backward:  # the path again; then each evaluation with two gradients of each product
        products += products + 3 * (values * edges + traces * couplings)
    return Work(call, 2 * rows * products)


def of_diffusion_sampler(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """Products of the denoiser, at every step."""
    sizes, steps = text.split(":")
    rows, features, units = map(int, sizes.split("x"))
    generator = torch.Generator().manual_seed(seed)
    widths = [features, units, units, units, features]
    x = torch.randn(rows, features, generator=generator, dtype=dtype)
    weights, biases = network(widths, dtype, generator)
    shifts = torch.randn(int(steps), units, generator=generator, dtype=dtype)
    coefficients = x.new_tensor([[0.9, 0.4, 0.1]] * int(steps))

    def sample() -> Any:
        with torch.no_grad():
            return ops.diffusion_sampler(x, None, weights, biases, shifts, coefficients)

    return Work(sample, 2 * rows * int(steps) * sum(w.numel() for w in weights))


def of_spline(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """Reads an element and its parameters and writes two; backwards also two gradients."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [(int(text), k) for k in (BINS, BINS, BINS - 1)]
    x = torch.randn(int(text), generator=generator, dtype=dtype).requires_grad_()
    parameters = [
        torch.randn(size, generator=generator, dtype=dtype).requires_grad_() for size in sizes
    ]

    def spline() -> Any:
        return ops.rational_quadratic_spline(x, *parameters)

    call = call_of(spline, [x, *parameters], backward)
    read = 3 * BINS  # the element and its parameters
    elements = (read + 2) + (read + 2 + read if backward else 0)
    return Work(call, elements * len(x) * dtype.itemsize)
