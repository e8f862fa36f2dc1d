"""Derivatives of an op to a given order, for comparison with another function of the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def all_derivatives(
    function: Callable, tensors: Sequence[Tensor], order: int
) -> list[list[Tensor]]:
    """[outputs, first derivatives, second ones, ...].

    Each order differentiates a sum of the tensors of the order before, with weights that differ
    from element to element and that are differentiated as well: those of a backward are its
    incoming gradients.
    """
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    levels = [list(function(*leaves))]
    for _ in range(order):
        last = levels[-1]
        scalar = last[0].new_zeros(())
        for tensor in last:
            weights = torch.linspace(0.5, 1.5, tensor.numel(), dtype=tensor.dtype)
            leaves.append(weights.view_as(tensor).requires_grad_())
            scalar = scalar + (leaves[-1] * tensor).sum()
        grads = torch.autograd.grad(scalar, leaves, create_graph=True, materialize_grads=True)
        levels.append(list(grads))
    return levels
