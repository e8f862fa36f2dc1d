"""Small variational autoencoders, and data for them."""

import torch
from torch import distributions as D

from pyneural import models
from pyneural.models import VariationalAutoencoder

INPUTS, LATENT, STD = 5, 2, 0.7


class Mixture(torch.nn.Module):
    """A prior that is trained: its call gives a mixture of normal distributions."""

    def __init__(self, latent, components=3):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.zeros(components))
        self.mean = torch.nn.Parameter(torch.randn(components, latent))
        self.log_std = torch.nn.Parameter(torch.zeros(components, latent))

    def forward(self):
        parts = D.Independent(D.Normal(self.mean, self.log_std.exp()), 1)
        return D.MixtureSameFamily(D.Categorical(logits=self.logits), parts)


def probabilistic_pca(shift=0.0, factor=1.0, prior=None):
    """p(x|z) = N(W z + m, s^2) with orthogonal columns of W, and q(z|x) the posterior, or not.

    Returns the model, samples x, log p(x) and KL(q(z|x) || p(z|x)), which are exact (Tipping and
    Bishop 1999).
    """
    torch.manual_seed(0)
    weight = torch.linalg.qr(torch.randn(INPUTS, LATENT).double()).Q * torch.tensor([2.0, 0.5])
    mean = torch.randn(INPUTS).double()
    precision = weight.T @ weight + STD**2 * torch.eye(LATENT).double()  # diagonal
    encoder, decoder = torch.nn.Linear(INPUTS, 2 * LATENT), torch.nn.Linear(LATENT, INPUTS)
    model = VariationalAutoencoder(
        encoder, models.GaussianLikelihood(STD), decoder=decoder, latent=LATENT, prior=prior
    ).double()
    to_z = torch.linalg.inv(precision) @ weight.T
    variance = STD**2 / precision.diag()
    with torch.no_grad():
        decoder.weight.copy_(weight)
        decoder.bias.copy_(mean)
        encoder.weight.copy_(torch.cat([to_z, torch.zeros_like(to_z)]))
        encoder.bias.copy_(torch.cat([shift - to_z @ mean, (factor * variance).log()]))
    covariance = weight @ weight.T + STD**2 * torch.eye(INPUTS).double()
    exact = D.MultivariateNormal(mean, covariance)
    x = exact.sample((40,))
    posterior = D.Independent(D.Normal((x - mean) @ to_z.T, variance.sqrt().expand(40, -1)), 1)
    gap = D.kl_divergence(model.encode(x), posterior).detach()
    return model, x, exact.log_prob(x), gap


def repeated(function, x, count):
    """Mean over that many draws of each sample, [N]."""
    with torch.no_grad():
        return function(x.repeat(count, 1)).view(count, len(x)).mean(0)


def counts(samples=64, dtype=torch.float32):
    """Digits of a kind: two blobs of counts from 0 to 4, [N, 6]."""
    generator = torch.Generator().manual_seed(5)
    kind = torch.randint(2, (samples, 1), generator=generator)
    share = torch.where(kind == 1, torch.linspace(0.1, 0.9, 6), torch.linspace(0.9, 0.1, 6))
    return torch.binomial(torch.full((samples, 6), 4.0), share, generator=generator).to(dtype)


def new_model(prior=None, **options):
    torch.manual_seed(3)
    prior = Mixture(2) if prior == "mixture" else prior
    options = {"likelihood": models.BinomialLikelihood(4), "activation": "tanh"} | options
    model = VariationalAutoencoder([6, 8, 2], prior=prior, **options)
    model.compile("adam")
    return model


def weights(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])
