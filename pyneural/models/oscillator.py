"""Damped oscillation, read at a few times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def damped_oscillation(frequency: Tensor, damping: Tensor, times: Sequence[float]) -> Tensor:
    """Readings of a damped oscillation that starts from rest at 1.

        x(t) = exp(-gamma t) (cos w t + gamma/w sin w t)

    Args:
        frequency: angular, w, [N], in radians a unit of time; not 0.
        damping: gamma, [N], in 1 a unit of time.
        times: of the readings.

    Returns:
        x, [N, times].

    >>> damped_oscillation(torch.tensor([torch.pi]), torch.tensor([0.0]), [0.0, 1.0])
    tensor([[ 1., -1.]])
    """
    t = torch.tensor(times, dtype=frequency.dtype, device=frequency.device)
    w, gamma = frequency[:, None], damping[:, None]
    return torch.exp(-gamma * t) * (torch.cos(w * t) + gamma / w * torch.sin(w * t))
