"""The losses of generator and discriminator, from the logits of the discriminator."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus


def discriminator_terms(
    real: Tensor, fake: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The cross-entropies of D = sigmoid(logit) on data and on samples, each sample's own.

        t(x) = -(1 - s) log D(x) - s log(1 - D(x)),   t(G(z)) = -log(1 - D(G(z)))

    with the smoothing s of the target 1 of the data alone (Salimans et al. 2016, arXiv:1606.03498).
    They are finite for every finite logit, as log D = -softplus(-logit).

    Args:
        real: logits of data, [N].
        fake: logits of samples, [M].
        smoothing: s, in [0, 0.5).

    Returns:
        [N] and [M].

    >>> import torch
    >>> real, fake = discriminator_terms(torch.tensor([0.0, 1000.0]), torch.tensor([1000.0]))
    >>> real, fake
    (tensor([0.6931, 0.0000]), tensor([1000.]))
    """
    of_real = softplus(-real)
    return of_real + smoothing * real if smoothing else of_real, softplus(fake)


def minimax(fake: Tensor) -> Tensor:
    """The generator's log(1 - D(G(z))), of logits [N].

    Its derivative by the logit is -D(G(z)): nothing where the discriminator is sure of a sample,
    which is where there is most to learn (Goodfellow et al. 2014, arXiv:1406.2661, eq. 1).

    >>> import torch
    >>> minimax(torch.tensor([-1000.0, 0.0]))
    tensor([-0.0000, -0.6931])
    """
    return -softplus(fake)


def non_saturating(fake: Tensor) -> Tensor:
    """The generator's -log D(G(z)), of logits [N].

    Its derivative by the logit is -(1 - D(G(z))): the largest where the discriminator is sure of a
    sample (Goodfellow et al. 2014, arXiv:1406.2661, section 3).

    >>> import torch
    >>> non_saturating(torch.tensor([-1000.0, 0.0]))
    tensor([1000.0000, 0.6931])
    """
    return softplus(-fake)


GENERATOR_LOSSES = {"minimax": minimax, "non-saturating": non_saturating}
