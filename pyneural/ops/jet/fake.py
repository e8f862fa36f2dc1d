"""The shapes of what the jet ops return, for torch.compile and meta tensors.

Arguments are checked by the kernels; here only what the shapes need must be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pyneural.ops.jet.derivatives import count


def _outputs(weights: Sequence[Tensor]) -> int:
    if not weights:
        raise ValueError("jet_mlp: weights: expected at least one layer, got none")
    return weights[-1].shape[0]


def _parameters(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> int:
    return sum(p.numel() for p in chain(weights, biases))


@torch.library.register_fake("pyneural::jet_mlp")
def _(
    x: Tensor, weights: list, biases: list, activation: str, derivatives: list, *_: Any
) -> Tensor:
    return x.new_empty(1 + count(derivatives), x.shape[0], _outputs(weights))


@torch.library.register_fake("pyneural::jet_mlp_backward")
def _(grad_output: Tensor, x: Tensor, weights: list, biases: list, *options: Any) -> tuple:
    needs_x, needs_parameters = options[-1]
    return (
        x.new_empty(x.shape if needs_x else 0),
        x.new_empty(_parameters(weights, biases) if needs_parameters else 0),
    )


@torch.library.register_fake("pyneural::jet_mlp_jacobian")
def _(
    x: Tensor, weights: list, biases: list, activation: str, derivatives: list, *_: Any
) -> Tensor:
    channels = (1 + count(derivatives)) * _outputs(weights)
    return x.new_empty(x.shape[0], channels, _parameters(weights, biases))


@torch.library.register_fake("pyneural::jet_mlp_loss")
def _(x: Tensor, weights: list, biases: list, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    *_, coefficients, with_gradient = options
    sizes = (_parameters(weights, biases), coefficients.numel()) if with_gradient else (0, 0)
    return x.new_empty(()), x.new_empty(sizes[0]), x.new_empty(sizes[1])
