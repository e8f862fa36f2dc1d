"""Damped oscillators: the exact solution, and one with random driving and noisy readings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.models.state_space.state_space_model import StateSpaceModel


def damped_oscillation(frequency: Tensor, damping: Tensor, times: Sequence[float]) -> Tensor:
    """Positions of a damped oscillator that is released at rest from x = 1.

        x(t) = exp(-gamma t) (cos w t + gamma/w sin w t)

    Args:
        frequency: angular frequency w of the damped oscillation, [N], in radians per unit of time;
            not 0.
        damping: damping rate gamma, [N], per unit of time.
        times: times of the readings.

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
    """A damped oscillator with random driving, whose position is read once per unit of time.

        x'' = -w^2 x - 2 gamma x' + random force,  y_t = x(t) + v_t

    The state is (position, velocity), initially near (2, 0); float64.

    Args:
        frequency: angular frequency w without damping, in radians per unit of time.
        damping: damping rate gamma, per unit of time.
        push: variance that the random force adds to the velocity between two readings; it adds a
            hundredth of this to the position.
        noise: variance of the measurement noise v_t.

    Raises:
        ValueError: a negative variance.

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
