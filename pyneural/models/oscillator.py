"""Damped oscillation: read at a few times, and pushed at random and read with noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.models.state_space import StateSpaceModel


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


def pushed_oscillator(
    frequency: float, damping: float, push: float, noise: float
) -> StateSpaceModel:
    """A damped oscillator that is pushed at random, its position read once a unit of time.

        x'' = -w^2 x - 2 gamma x' + pushes,  y_t = x(t) + v_t

    The states are position and velocity, which begin near 2 and 0; in float64.

    Args:
        frequency: angular, w, in radians a unit of time.
        damping: gamma, in 1 a unit of time.
        push: variance of the velocity's change between two readings, a hundredth of which is the
            position's.
        noise: variance of v_t.

    Raises:
        ValueError: a variance below 0.

    >>> model = pushed_oscillator(frequency=torch.pi / 2, damping=0.0, push=0.0, noise=1.0)
    >>> model.transition[:, 0].round(decimals=4).tolist()  # a quarter of a turn from (1, 0)
    [0.0, -1.5708]
    """
    A = torch.tensor([[0.0, 1.0], [-(frequency**2), -2 * damping]], dtype=torch.float64)
    return StateSpaceModel(
        transition=torch.linalg.matrix_exp(A),
        observation=torch.tensor([[1.0, 0.0]], dtype=torch.float64),
        process_noise=torch.tensor([[0.01 * push, 0.0], [0.0, push]], dtype=torch.float64),
        observation_noise=torch.tensor([[noise]], dtype=torch.float64),
        initial_mean=torch.tensor([2.0, 0.0], dtype=torch.float64),
        initial_covariance=0.1 * torch.eye(2, dtype=torch.float64),
    )
