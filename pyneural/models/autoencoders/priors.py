"""Priors p(z) of latent variables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributions

from pyneural.errors import ArgumentError
from pyneural.training.evaluation import evaluation_mode


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


def distribution_of(prior: Any) -> Any:
    """What has ``log_prob`` and ``sample``: the prior, or what its call gives, as of a flow."""
    itself = hasattr(prior, "log_prob") and hasattr(prior, "sample")
    return prior if itself or not isinstance(prior, torch.nn.Module) else prior()


def checked_prior(where: str, prior: Any, latent: int) -> None:
    """ArgumentError unless it is, or its call gives, a distribution of z, [latent]."""
    remedy = "give a flow, or torch.distributions.Independent(Normal(...), 1)"

    def refuse(expected: str, got: str) -> None:
        raise ArgumentError(f"{where}: expected {expected}, got {got}; {remedy}")

    mode = prior if isinstance(prior, torch.nn.Module) else torch.nn.Identity()
    # In evaluation mode, so that no layer takes these numbers for the first ones of a training.
    with evaluation_mode(mode), torch.random.fork_rng(devices=[]):
        found = distribution_of(prior)
        if not (hasattr(found, "log_prob") and hasattr(found, "sample")):
            expected = "log_prob and sample, or a module whose call gives what has them"
            refuse(expected, type(found).__name__)
        z = found.sample((2,))
        if z.shape != (2, latent):
            refuse(f"samples [N, {latent}]", str(list(z.shape)))
        if found.log_prob(z).shape != (2,):
            refuse("one log_prob for each sample, [N]", str(list(found.log_prob(z).shape)))
        far = z.new_tensor([[-1e6], [1e6]]).expand_as(z)
        if not z.is_meta and not (_is_everywhere(found, far) and _flows_everywhere(found, far)):
            part = "one that is 0 in a part of it, as with bounds or periodic features"
            refuse("a density on all of R^n", part)


def _is_everywhere(distribution: Any, z: Tensor) -> bool:
    """Whether z is in the support: where p(z) is 0 the divergence of a posterior is infinite.

    >>> interval = distributions.Uniform(torch.zeros(2), torch.ones(2))
    >>> _is_everywhere(interval, torch.full((1, 2), 5.0))
    False
    """
    try:
        return bool(distribution.support.check(z).all())
    except (AttributeError, NotImplementedError):  # it does not say
        return True


def _flows_everywhere(flow: Any, z: Tensor) -> bool:
    """False of a flow from R^n whose base has not all of it, and of no other distribution.

    Samples of angles are on a circle, but any number stands for one of them.
    """
    transform, base = getattr(flow, "transform", None), getattr(flow, "base", None)
    try:
        onto_all = bool(transform.codomain.check(z).all())  # type: ignore[union-attr]
    except (AttributeError, NotImplementedError):
        return True
    return not onto_all or _is_everywhere(base, z)
