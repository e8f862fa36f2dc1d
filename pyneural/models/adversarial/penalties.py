"""Penalties on the slope of the discriminator's logit, which keep it from being infinitely sure."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def logits_of(discriminator: torch.nn.Module, x: Tensor, c: Tensor | None) -> Tensor:
    """The logits [N] of samples [N, ...] and their conditions."""
    found = discriminator(x) if c is None else discriminator(x, c)
    return found.reshape(len(x))


def logits_and_slopes(
    discriminator: torch.nn.Module, x: Tensor, c: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Logits [N] and their gradients by the samples, [N, ...], which can be differentiated again.

    A discriminator that has the method ``value_and_gradient`` is asked for both, as
    ``MLPDiscriminator``; of any other autograd takes the gradient.
    """
    own: Any = getattr(discriminator, "value_and_gradient", None)
    return by_autograd(discriminator, x, c) if own is None else own(x, c)


def by_autograd(
    discriminator: torch.nn.Module, x: Tensor, c: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Logits [N] and their gradients by the samples, [N, ...], of any discriminator."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = logits_of(discriminator, x, c)
        (slopes,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return logits, slopes


def r1(slopes: Tensor) -> Tensor:
    """The penalty 1/2 E |grad_x logit(x)|^2 of the slopes [N, ...] at data, [].

    Source: Mescheder, Geiger and Nowozin 2018, arXiv:1801.04406, eq. 9.
    """
    return 0.5 * slopes.flatten(1).square().sum(1).mean()


def distance_from_one(slopes: Tensor) -> Tensor:
    """The penalty E (|grad_x logit(x)| - 1)^2 of the slopes [N, ...] between data and samples, [].

    Source: Gulrajani et al. 2017, arXiv:1704.00028, eq. 3.
    """
    # The root has no derivative at 0, where a discriminator may begin.
    norm = (slopes.flatten(1).square().sum(1) + 1e-12).sqrt()
    return (norm - 1).square().mean()


def between(x: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """A point on the line from each sample [N, ...] of the generator to one of the data.

    The share [N] is that of the data.
    """
    return torch.lerp(fake, x, share.reshape(-1, *[1] * (x.dim() - 1)))


PENALTIES = ("r1", "gradient")
