"""Samplers of a diffusion: lists of steps, each linear in the point, the denoiser and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from pyneural.errors import is_whole
from pyneural.models.diffusion.schedule import NoiseSchedule
from pyneural.models.diffusion.targets import Target
from pyneural.ode.tableau import Tableau
from pyneural.training.checks import check


def ddim_steps(
    schedule: NoiseSchedule, target: Target, times: Sequence[int], eta: float = 0.0
) -> Tensor:
    """Steps of the implicit sampler, or with eta = 1 those of the ancestral one.

        x_s = alpha_s x_0 + sqrt(sigma_s^2 - c^2) eps + c xi,   xi ~ N(0, 1)
        c = eta sigma_s / sigma_t sqrt(1 - alpha_t^2 / alpha_s^2)

    for the time s that follows t, the last one being 0, where x_0 and eps are what the denoiser
    says at x_t. With eta = 1 and all times it is the posterior q(x_(t-1) | x_t, x_0) of Ho, Jain
    and Abbeel, eq. 6 and 7; with eta = 0 a map from noise to samples without chance.

    Args:
        schedule: of the diffusion.
        target: what the denoiser predicts.
        times: falling, within 1 and T.
        eta: share of the ancestral sampler's noise.

    Returns:
        [S, 3] in float64: (a, b, c) of x_s = a x_t + b f(x_t, t) + c xi for each time.

    Raises:
        ValueError: times that do not fall, or are not within 1 and T; eta not in [0, 1].

    Source: Song, Meng and Ermon 2020, arXiv:2010.02502, eq. 12 and 16.

    >>> from pyneural.models.diffusion.targets import TARGETS
    >>> schedule = NoiseSchedule.cosine(10)
    >>> ddim_steps(schedule, TARGETS["x0"], [10])  # one step: what the denoiser says
    tensor([[0., 1., 0.]], dtype=torch.float64)
    """
    times = [int(t) for t in times]
    falls = all(t > s for t, s in pairwise([*times, 0])) and times and times[0] <= schedule.steps
    check(bool(falls), "ddim_steps: times", f"falling times from at most {schedule.steps} to 1",
          f"{times[:4]}, ...", "take schedule.times(50)")  # fmt: skip
    good = 0 <= eta <= 1
    check(good, "ddim_steps: eta", "a number in [0, 1]", eta, "0 is DDIM, 1 is ancestral")
    rows = []
    for t, s in pairwise([*times, 0]):
        alpha, sigma = float(schedule.alpha[t]), float(schedule.sigma[t])
        alpha_s, sigma_s = float(schedule.alpha[s]), float(schedule.sigma[s])
        c = eta * sigma_s / sigma * math.sqrt(max(0.0, 1 - (alpha / alpha_s) ** 2))
        k = math.sqrt(max(0.0, sigma_s**2 - c**2))
        (u, w), (p, q) = target.sample_and_noise(alpha, sigma)
        rows.append([alpha_s * u + k * p, alpha_s * w + k * q, c])
    return torch.tensor(rows, dtype=torch.float64)


def runge_kutta_steps(tableau: Tableau, steps: int) -> tuple[list[float], Tensor]:
    """An explicit Runge-Kutta method from time 0 to 1 as steps from one stage's point to the next.

        z_(i+1) = z_i + h sum_j (a_(i+1)j - a_ij) k_j,  z_0 = x(t),  x(t + h) = z_s

    where a_sj are the weights: the points of the stages are where the slopes k_j are taken.

    Args:
        tableau: of the method with s stages.
        steps: number of equal steps of length h.

    Returns:
        The time of each stage, steps x s of them, and its coefficients [steps x s, 2 + s] in
        float64, as ``ops.diffusion_sampler`` has them: (1, 0, factors of the last s slopes).

    Raises:
        ValueError: steps that are no whole number above 0.

    >>> from pyneural.ode.tableau import RK4
    >>> times, coefficients = runge_kutta_steps(RK4, 2)
    >>> times[:4], coefficients[1].tolist()  # from the middle by the old slope to that by the new
    ([0.0, 0.25, 0.25, 0.5], [1.0, 0.0, 0.25, -0.25, 0.0, 0.0])
    """
    good = is_whole(steps) and steps > 0
    check(good, "runge_kutta_steps: steps", "a whole number above 0", repr(steps), "such as 25")
    stages, h = len(tableau.nodes), 1 / steps
    rows = torch.zeros(stages + 1, stages, dtype=torch.float64)
    for i, row in enumerate((*tableau.stages, tableau.weights)):
        rows[i, : len(row)] = torch.tensor(row, dtype=torch.float64)
    coefficients = torch.zeros(stages, 2 + stages, dtype=torch.float64)
    coefficients[:, 0] = 1
    for i, change in enumerate(h * rows.diff(dim=0)):
        coefficients[i, 2 : 3 + i] = change[: i + 1].flip(0)  # the latest first
    times = [(step + float(c)) * h for step in range(steps) for c in tableau.nodes]
    return times, coefficients.repeat(steps, 1)
