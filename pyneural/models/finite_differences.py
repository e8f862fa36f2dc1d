"""Gradients by finite differences: slow, and right without any calculus."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


@torch.no_grad()
def finite_differences(
    loss: Callable[[], Tensor], parameters: Iterable[Tensor], step: float
) -> list[Tensor]:
    """Gradient of a loss for each parameter by central differences.

        dC/dw ~ (C(w + h) - C(w - h)) / (2 h)

    The error falls as h^2 until the rounding of C, divided by h, takes over.

    Args:
        loss: C as the parameters are now, [].
        parameters: are changed in place and put back.
        step: h.

    Returns:
        a tensor a parameter, of its shape.

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
