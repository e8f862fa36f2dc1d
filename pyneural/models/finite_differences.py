"""Gradients by finite differences: slow, but independent of any derivative formula."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


@torch.no_grad()
def finite_differences(
    loss: Callable[[], Tensor], parameters: Iterable[Tensor], step: float
) -> list[Tensor]:
    """Gradient of a loss with respect to each parameter, by central differences.

        dC/dw ~ (C(w + h) - C(w - h)) / (2 h)

    The error falls as h^2 until the rounding of C, divided by h, takes over.

    Args:
        loss: returns C at the present values of the parameters, [].
        parameters: varied in place and restored.
        step: h.

    Returns:
        one tensor for each parameter, of the same shape.

    >>> w = torch.tensor([3.0], dtype=torch.float64)
    >>> finite_differences(lambda: (w**2).sum(), [w], 1e-3)
    [tensor([6.0000], dtype=torch.float64)]
    """
    gradients = []
    for parameter in parameters:
        gradient = torch.empty_like(parameter)
        flat, slopes = parameter.view(-1), gradient.view(-1)
        for i, value in enumerate(flat.tolist()):
            flat[i] = value + step
            above = loss()
            flat[i] = value - step
            slopes[i] = (above - loss()) / (2 * step)
            flat[i] = value
        gradients.append(gradient)
    return gradients
