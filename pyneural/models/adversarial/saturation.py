"""How much of each loss's gradient reaches the generator."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyneural.errors import is_whole
from pyneural.models.adversarial.gan import GAN
from pyneural.models.adversarial.objectives import GENERATOR_LOSSES
from pyneural.models.adversarial.penalties import logits_of
from pyneural.training.checks import check


class Saturation(NamedTuple):
    """What the losses of a generator say to it at this moment."""

    d_fake: float  # mean of D(G(z))
    minimax: float  # norm of the gradient of E log(1 - D(G(z))) by the generator's weights
    non_saturating: float  # that of -E log D(G(z))


def saturation(model: GAN, condition: Tensor | None = None, *, count: int = 1000) -> Saturation:
    """The norms of the gradients of both losses by the weights of the generator.

        d/dl log(1 - D) = -D,   d/dl (-log D) = -(1 - D),   D = sigmoid(l)

    so that where the discriminator is sure of the samples, D -> 0, the first one has vanished and
    the second one is at its largest (Goodfellow et al. 2014, arXiv:1406.2661, section 3). Nothing
    is changed by it but torch's random numbers.

    Args:
        model: trained or not, with any loss.
        condition: of each sample, where the model has conditions, [count, C] or classes [count].
        count: samples of which the mean is taken.

    Raises:
        ValueError: a count below 1, or conditions that do not fit.

    >>> from pyneural.models import MLPDiscriminator, MLPGenerator
    >>> found = saturation(GAN(MLPGenerator(2, 2), MLPDiscriminator(2)))
    >>> 0 < found.d_fake < 1, found.minimax > 0
    (True, True)
    """
    good = is_whole(count) and count >= 1
    check(good, "saturation: count", "a whole number >= 1", repr(count), "write 1000")
    z = model.noise(count)
    c = model.condition_of("saturation: condition", condition, z)
    parameters = [p for p in model.generator.parameters() if p.requires_grad]
    with torch.enable_grad():
        logits = logits_of(model.discriminator, model(z, c), c)
        norms = {
            name: _norm(torch.autograd.grad(loss(logits).mean(), parameters, retain_graph=True))
            for name, loss in GENERATOR_LOSSES.items()
        }
    mean = float(logits.detach().sigmoid().mean())
    return Saturation(mean, norms["minimax"], norms["non-saturating"])


def _norm(gradients: tuple[Tensor, ...]) -> float:
    return float(torch.stack([g.double().square().sum() for g in gradients]).sum().sqrt())
