"""The normal distribution q(z|x) that an encoder gives, and the noise z is drawn with."""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor, distributions


def normal(mean: Tensor, log_variance: Tensor) -> distributions.Distribution:
    """N(mu, diag sigma^2) of mu and log sigma^2, [N, latent] each."""
    std = (0.5 * log_variance).exp()
    return distributions.Independent(
        distributions.Normal(mean, std, validate_args=False), 1, validate_args=False
    )


def log_density(eps: Tensor, log_variance: Tensor) -> Tensor:
    """The log density of N(mu, diag sigma^2) at mu + sigma eps, [..., latent] to [...].

    >>> log_density(torch.zeros(1), torch.zeros(1))
    tensor(-0.9189)
    """
    return -0.5 * (eps.square() + log_variance + math.log(2 * math.pi)).sum(-1)


def same_noise(x: Tensor, latent: int) -> Tensor:
    """Normal noise [N, latent] that is a function of the batch x alone, for measurements.

    A batch has the same noise in each epoch, another batch has other noise, and nothing else that
    is random changes.

    >>> first, second = torch.zeros(3, 8), torch.ones(3, 8)
    >>> torch.equal(same_noise(first, 2), same_noise(first, 2))
    True
    >>> torch.equal(same_noise(first, 2), same_noise(second, 2))
    False
    """
    seed = zlib.crc32(repr(float(x.sum(dtype=torch.float32))).encode())
    generator = torch.Generator(x.device).manual_seed(seed)
    return torch.randn(len(x), latent, generator=generator, dtype=x.dtype, device=x.device)
