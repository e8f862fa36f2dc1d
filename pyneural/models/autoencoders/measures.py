"""How the aggregate posterior q(z) of a variational autoencoder fits the prior."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, distributions

from pyneural.errors import ArgumentError, is_whole
from pyneural.training.evaluation import evaluation_mode

if TYPE_CHECKING:
    from pyneural.models.autoencoders.variational_autoencoder import VariationalAutoencoder

_CHUNK = 1 << 22  # densities at a time


class AggregatePosterior(NamedTuple):
    """The mixture q(z) = 1/N sum_n q(z|x_n) of the data's posteriors, beside the prior p(z).

    ``kl`` is KL(q(z) || p(z)), in nats: 0 where the prior describes the latent variables, large
    where samples of the prior lie where no data are. With ``mutual_information`` I(n; z) <= log N,
    the nats that z tells about the sample, it is the mean divergence of the ELBO (Hoffman and
    Johnson 2016):

        1/N sum_n KL(q(z|x_n) || p(z)) = KL(q(z) || p(z)) + I(n; z)

    Where I is at its limit, the N posteriors do not overlap: ``kl`` is then that mean less log N
    and falls with more data, so that models are to be compared on as many samples. ``mean`` and
    ``covariance``, 0 and 1 for the standard normal prior, do not have this limit.
    """

    kl: float
    mutual_information: float
    standard_error: float  # of kl
    mean: Tensor  # of q(z), [latent]; exact, as is the covariance
    covariance: Tensor  # [latent, latent]


def aggregate_posterior(
    model: VariationalAutoencoder, x: Any, samples: int = 10_000
) -> AggregatePosterior:
    """How the posteriors of all data together fit the prior, by Monte Carlo with z ~ q(z).

    The density of q(z) is the exact mixture of all N posteriors, in float64, at each z.

    Args:
        model: the variational autoencoder; it is measured in evaluation mode.
        x: the data, [N, ...].
        samples: values of z.

    >>> from pyneural.models import VariationalAutoencoder
    >>> _ = torch.manual_seed(0)
    >>> model = VariationalAutoencoder([8, 2], "gaussian")
    >>> found = aggregate_posterior(model, torch.randn(50, 8))
    >>> found.mutual_information < math.log(50)
    True
    """
    where = "aggregate_posterior: samples"
    if not (is_whole(samples) and samples >= 2):
        raise ArgumentError(f"{where}: expected a whole number >= 2, got {samples}; write 10_000")
    with evaluation_mode(model):
        posterior = cast(distributions.Independent, model.encode(x))
        mean, std = posterior.mean.double(), posterior.stddev.double()  # [N, latent]
        row = torch.arange(samples, device=mean.device) * len(mean) // samples  # each as often
        z = mean[row] + std[row] * torch.randn_like(mean[row])
        by_prior = model.prior_distribution().log_prob(z.to(posterior.mean.dtype)).double()
    log_q = torch.cat([_log_mixture(part, mean, std) for part in z.split(_rows(len(mean)))])
    own = distributions.Normal(mean[row], std[row]).log_prob(z).sum(1)
    ratio = log_q - by_prior
    centred = mean - mean.mean(0)
    covariance = centred.T @ centred / len(mean) + std.square().mean(0).diag()
    error = float(ratio.std() / math.sqrt(samples))
    information = float((own - log_q).mean())
    return AggregatePosterior(float(ratio.mean()), information, error, mean.mean(0), covariance)


def _rows(components: int) -> int:
    return max(1, _CHUNK // components)


def _log_mixture(z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log density, [M], of the mixture; its squares are expanded into products of matrices."""
    precision = std.square().reciprocal()
    constant = (mean.square() * precision).sum(1) + (2 * std.log() + math.log(2 * math.pi)).sum(1)
    squares = z.square() @ precision.T - 2 * z @ (mean * precision).T + constant  # [M, N]
    return (-0.5 * squares).logsumexp(1) - math.log(len(mean))
