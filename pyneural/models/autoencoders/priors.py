"""Priors p(z) of latent variables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributions

from pyneural.errors import ArgumentError


class StandardNormal(torch.nn.Module):
    """p(z) = N(0, 1), whose call gives the distribution on the module's device, in its dtype.

    Args:
        features: components of z.

    >>> StandardNormal(2)().log_prob(torch.zeros(3, 2))
    tensor([-1.8379, -1.8379, -1.8379])
    """

    zeros: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(features), persistent=False)

    def forward(self) -> distributions.Distribution:
        """The distribution of z, [features]."""
        normal = distributions.Normal(self.zeros, torch.ones_like(self.zeros), validate_args=False)
        return distributions.Independent(normal, 1, validate_args=False)

    def extra_repr(self) -> str:
        """Arguments of the constructor."""
        return str(len(self.zeros))


def checked_prior(where: str, prior: Any, latent: int) -> None:
    """ArgumentError unless it is, or its call gives, a distribution of z, [latent]."""
    remedy = "give a flow, or torch.distributions.Independent(Normal(...), 1)"

    def refuse(expected: str, got: str) -> None:
        raise ArgumentError(f"{where}: expected {expected}, got {got}; {remedy}")

    if not (hasattr(prior, "log_prob") or isinstance(prior, torch.nn.Module)):
        refuse("log_prob and sample, or a module that gives what has them", type(prior).__name__)
    found = prior if hasattr(prior, "log_prob") else prior()
    if not (hasattr(found, "log_prob") and hasattr(found, "sample")):
        refuse("a module whose call gives log_prob and sample", type(found).__name__)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        z = found.sample((2,))
        if z.shape != (2, latent):
            refuse(f"samples [N, {latent}]", str(list(z.shape)))
        if found.log_prob(z).shape != (2,):
            refuse("one log_prob for each sample, [N]", str(list(found.log_prob(z).shape)))
