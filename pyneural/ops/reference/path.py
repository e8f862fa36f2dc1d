"""Derivatives of residuals along a path of parameters, in plain torch.

The arguments are those of the op's schema. Letters: N points, E equations, P parameters, Q
coefficients, M = P + Q, K derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pyneural.ops.reference.least_squares import jet_mlp_residual


def jet_mlp_path(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *options: Any
) -> Tensor:
    """The derivatives 1 to K of the residuals, [K, E, N], along the path [K, M], the last option.

    By forward mode, nested: the (k + 1)-th derivative is that of the k-th.

    >>> x, weights, biases = torch.ones(4, 2), [torch.ones(1, 2)], [torch.ones(1)]
    >>> u = [4, 0, 0, 0, 0, 0]  # channel 0 0; residual 0
    >>> rest = "tanh", [], [], u, [], torch.ones(0), None, torch.tensor([[1.0, 2.0, 4.0]])
    >>> jet_mlp_path(x, weights, biases, *rest)
    tensor([[[7., 7., 7., 7.]]])
    """
    *program, coefficients, columns, path = options
    parameters = [*chain.from_iterable(zip(weights, biases, strict=True)), coefficients]
    sizes = [tensor.numel() for tensor in parameters]

    def residuals(tau: Tensor) -> tuple[Tensor]:
        moved, power = parameters, torch.ones_like(tau)  # tau^j / j!
        for j, direction in enumerate(path, 1):
            power = power * tau / j
            parts = direction.split(sizes)
            moved = [p + power * v.view_as(p) for p, v in zip(moved, parts, strict=True)]
        *of_layers, factors = moved
        rest = *program, factors, columns
        return (jet_mlp_residual(x, of_layers[::2], of_layers[1::2], *rest, op="jet_mlp_path"),)

    derivatives: Callable[[Tensor], tuple[Tensor, ...]] = residuals
    for _ in path:
        derivatives = _with_next(derivatives)
    return torch.stack(derivatives(x.new_zeros(()))[1:])


def _with_next(
    derivatives: Callable[[Tensor], tuple[Tensor, ...]],
) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """From a function and its first derivatives, those and the next one."""

    def more(tau: Tensor) -> tuple[Tensor, ...]:
        values, tangents = torch.func.jvp(derivatives, (tau,), (torch.ones_like(tau),))[:2]
        return *values, tangents[-1]

    return more
