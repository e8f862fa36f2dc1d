"""The shapes of what the jet ops return, for torch.compile and meta tensors.

Arguments are checked by the kernels; here only what the shapes need must be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from pyneural.ops.jet.derivatives import decode
from pyneural.ops.registration import empty_gradients


def _outputs(weights: Sequence[Tensor]) -> int:
    if not weights:
        raise ValueError("jet_mlp: weights: expected at least one layer, got none")
    return weights[-1].shape[0]


def _parameters(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> int:
    return sum(p.numel() for p in chain(weights, biases))


@torch.library.register_fake("pyneural::jet_mlp")
def _(x, weights, biases, activation, *plan):
    return x.new_empty(1 + len(decode(*plan)), x.shape[0], _outputs(weights))


@torch.library.register_fake("pyneural::jet_mlp_backward")
def _(grad_output, x, weights, biases, *options):
    return tuple(empty_gradients(x, (x.shape, _parameters(weights, biases)), options[-1]))


@torch.library.register_fake("pyneural::jet_mlp_jacobian")
def _(x, weights, biases, activation, *plan):
    channels = (1 + len(decode(*plan))) * _outputs(weights)
    return x.new_empty(x.shape[0], channels, _parameters(weights, biases))


@torch.library.register_fake("pyneural::jet_mlp_loss")
def _(x, weights, biases, *options):
    *_, coefficients, with_gradient = options
    sizes = (), _parameters(weights, biases), coefficients.numel()
    return tuple(empty_gradients(x, sizes, (True, with_gradient, with_gradient)))
