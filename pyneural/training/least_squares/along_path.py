"""Derivatives of tensors along a path of the parameters that they were computed from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def derivatives_along(
    values: Tensor, leaves: Sequence[Tensor], directions: Sequence[Tensor]
) -> list[Tensor]:
    """The derivatives of values along a path of leaves, to the order of the path.

        d^k values(theta + tau d_1 + tau^2 d_2 / 2 + ... + tau^K d_K / K!) / d tau^k at tau = 0

    By reverse mode alone, so that it takes whatever autograd can differentiate as often: J v is the
    derivative of w^T J v with respect to w, which nothing depends on.

    Args:
        values: [...], with its graph, which is kept.
        leaves: tensors that it was computed from.
        directions: d_1 to d_K of each, [K, ...].

    Returns:
        the derivatives of the orders 1 to K, [...] each, without a graph.

    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> derivatives_along(x**3, [x], [torch.tensor([[1.0], [0.0], [0.0]])])
    [tensor([12.]), tensor([12.]), tensor([6.])]
    """
    order = len(directions[0])
    with torch.enable_grad():
        tau = values.new_zeros(()).requires_grad_()
        slopes = [_slope(each, tau) for each in directions]
        slopes.append(torch.ones_like(tau))
        found: list[Tensor] = []
        for k in range(order):
            pulled: list[tuple[Tensor, Tensor]] = []
            if values.requires_grad:
                w = torch.zeros_like(values).requires_grad_()
                grads = torch.autograd.grad(
                    values, [*leaves, tau], w, create_graph=True, allow_unused=True
                )
                pairs = zip(grads, slopes, strict=True)
                pulled = [(g, slope) for g, slope in pairs if g is not None and g.requires_grad]
            if not pulled:
                return found + [torch.zeros_like(values)] * (order - k)
            total = torch.stack([(grad * slope).sum() for grad, slope in pulled]).sum()
            # The graphs of the leaves' functions are used again.
            (values,) = torch.autograd.grad(total, w, create_graph=True)
            found.append(values.detach())
        return found


def _slope(directions: Tensor, tau: Tensor) -> Tensor:
    """d_1 + tau d_2 + tau^2 d_3 / 2 + ..., which is the derivative of the path."""
    total = directions[-1]
    for k in range(len(directions) - 1, 0, -1):
        total = directions[k - 1] + tau / k * total
    return total
