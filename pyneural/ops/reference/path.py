"""Derivatives of residuals along a path of parameters, in plain torch.

The arguments are those of the op's schema. Letters: N points, E equations, P parameters, Q
coefficients, M = P + Q, K derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pyneural.ops.reference.least_squares import jet_mlp_residual
from pyneural.ops.reference.series import Series


def jet_mlp_path(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *options: Any
) -> Tensor:
    """The derivatives 1 to K of the residuals, [K, E, N], along the path [K, M], the last option.

    By Taylor series, which stand for the parameters and for all that is made of them.

    >>> x, weights, biases = torch.ones(4, 2), [torch.ones(1, 2)], [torch.ones(1)]
    >>> u = [4, 0, 0, 0, 0, 0]  # channel 0 0; residual 0
    >>> rest = "tanh", [], [], u, [], torch.ones(0), None, torch.tensor([[1.0, 2.0, 4.0]])
    >>> jet_mlp_path(x, weights, biases, *rest)
    tensor([[[7., 7., 7., 7.]]])
    """
    *program, coefficients, columns, path = options
    parameters = [*chain.from_iterable(zip(weights, biases, strict=True)), coefficients]
    parts = path.split([p.numel() for p in parameters], 1)
    # Any: Taylor series take the place of tensors.
    along: list[Any] = [
        Series([p, *(v.view_as(p) / math.factorial(k) for k, v in enumerate(part, 1))])
        for p, part in zip(parameters, parts, strict=True)
    ]
    *of_layers, factors = along
    rest = *program, factors, columns
    residuals: Any = jet_mlp_residual(x, of_layers[::2], of_layers[1::2], *rest, op="jet_mlp_path")
    if isinstance(residuals, Tensor):  # which the path does not reach
        return torch.stack([torch.zeros_like(residuals)] * len(path))
    derivatives = enumerate(residuals.coefficients[1:], 1)
    return torch.stack([math.factorial(k) * c for k, c in derivatives])
