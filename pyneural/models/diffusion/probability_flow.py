"""Likelihood of a model whose samples are the solution of an ordinary differential equation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import count as count_up

import torch
from torch import Tensor

from pyneural.models.diffusion.denoiser import MLPDenoiser
from pyneural.ode import odeint
from pyneural.progress import progress
from pyneural.training.checks import check

_LADJ_SCALE = 1e-2  # the log-determinant may have an error so much larger than the path's

# dx/dt and its divergence of t [] and x [N, D]: [N, D] and [N].
Rates = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def log_prob_by_flow(
    rates: Rates, x: Tensor, start: float, end: float, *, rtol: float, atol: float
) -> Tensor:
    """Log-density, [N], of rows x [N, D] that dx/dt = f carries to standard normal noise.

        log p(x(start)) = log N(x(end); 0, 1) + int_start^end div f dt

    Source: Chen et al. 2018, arXiv:1806.07366, theorem 1; of diffusions, Song et al. 2020,
    arXiv:2011.13456, eq. 39.

    >>> x = torch.zeros(1, 2)  # noise of standard deviation 2, made half as wide
    >>> rates = lambda t, x: (-x, torch.full((len(x),), -2.0))
    >>> log_prob_by_flow(rates, x, 0.0, 0.6931472, rtol=1e-6, atol=1e-6)  # -log(2 pi 2^2)
    tensor([-3.2242])
    """

    def scaled(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        next(shown)
        f, divergence = rates(t, state[0])
        return f, _LADJ_SCALE * divergence

    state = x, x.new_zeros(len(x))
    with closing(progress("log-likelihood", count_up())) as shown:
        noise, integral = odeint(scaled, state, [start, end], rtol=rtol, atol=atol)
    z = noise[-1]
    normal = torch.distributions.Normal(torch.zeros_like(z), 1.0)
    return normal.log_prob(z).sum(1) + integral[-1] / _LADJ_SCALE


def check_divergence(where: str, network: torch.nn.Module) -> MLPDenoiser:
    """The network; ValueError where its divergence is not known."""
    remedy = "make the model with an MLPDenoiser"
    good, got = isinstance(network, MLPDenoiser), type(network).__name__
    check(good, where, "an MLPDenoiser", got, remedy)
    return network  # type: ignore[return-value]
