"""The bounds of the variational autoencoder, against models whose likelihood is known."""

import sys
from itertools import pairwise

import pytest
import torch
from torch import distributions as D

from pyneural import models
from pyneural.models import VariationalAutoencoder
from tests.models.autoencoders.vae_examples import (
    counts,
    new_model,
    probabilistic_pca,
    repeated,
)


def test_bounds_are_exact_at_the_exact_posterior():
    model, x, exact, gap = probabilistic_pca()
    assert gap.abs().max() < 1e-12
    for samples in (1, 7):  # the weights p(x, z) / q(z|x) are all p(x)
        torch.testing.assert_close(model.log_prob(x, samples), exact, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(repeated(model.elbo, x, 20_000), exact, rtol=0, atol=0.06)
    given = D.Independent(D.Normal(torch.zeros(2).double(), torch.ones(2).double()), 1)
    model, x, exact, _ = probabilistic_pca(prior=given)  # log q - log p in place of the divergence
    torch.testing.assert_close(model.elbo(x), exact, rtol=1e-12, atol=1e-12)


def test_elbo_lies_below_by_the_divergence_from_the_posterior():
    model, x, exact, gap = probabilistic_pca(shift=0.3, factor=1.5)
    assert gap.min() > 0.1
    found = repeated(model.elbo, x, 40_000)
    assert (found < exact).all()
    torch.testing.assert_close(found, exact - gap, rtol=0, atol=0.06)


def test_importance_weighted_bound_rises_to_the_likelihood():
    model, x, exact, gap = probabilistic_pca(shift=0.3, factor=1.5)
    bounds = [
        repeated(lambda rows, k=k: model.log_prob(rows, k), x, 4000 // k).mean().item()
        for k in (1, 4, 40, 400)
    ]
    assert bounds[0] == pytest.approx((exact - gap).mean().item(), abs=0.05)
    assert all(after > before + 1e-3 for before, after in pairwise(bounds))
    assert 0 < exact.mean() - bounds[-1] < 0.01


def test_parts_of_the_bound_are_one(monkeypatch):
    model, x, *_ = probabilistic_pca(shift=0.3)
    torch.manual_seed(1)
    whole = model.log_prob(x, 9)
    monkeypatch.setattr(sys.modules[VariationalAutoencoder.__module__], "_ELEMENTS", 2 * x.numel())
    torch.manual_seed(1)
    torch.testing.assert_close(model.log_prob(x, 9), whole)


@pytest.mark.parametrize("rows", [1, 7, 90])  # of 40 samples with 50 values of z each
def test_the_decoder_takes_few_rows_at_a_time(monkeypatch, rows):
    model, x, exact, _ = probabilistic_pca()
    seen = []
    model.decoder.register_forward_hook(lambda module, given, output: seen.append(len(output)))
    limit = rows * x.shape[1]
    monkeypatch.setattr(sys.modules[VariationalAutoencoder.__module__], "_ELEMENTS", limit)
    with torch.no_grad():
        torch.testing.assert_close(model.log_prob(x, 50), exact, rtol=1e-12, atol=1e-12)
    assert max(seen) <= rows
    assert sum(seen) == 50 * len(x)


def test_gradient_is_that_of_the_elbo_with_the_noise_held_fixed():
    model, x = new_model().double(), counts(4, torch.float64)
    weight = model.decoder.layers[0].weight

    def loss():
        torch.manual_seed(8)
        return -model.elbo(x).sum()

    loss().backward()
    step = 1e-6
    for row, column in ((0, 0), (5, 1)):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[row, column] += sign * step
                ends.append(loss().item())
                weight[row, column] -= sign * step
        assert weight.grad[row, column] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_aggregate_posterior_against_what_is_known():
    # All means 0 and variances 1 but for a shift m: q(z) = N(m, 1), KL = m^2 / 2, no information.
    model = new_model()
    last = model.encoder.layers[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([1.0, 2.0, 0.0, 0.0]))
    found = models.aggregate_posterior(model, counts(), samples=4000)
    assert found.kl == pytest.approx(2.5, abs=5 * found.standard_error)
    assert found.mutual_information == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(found.mean, torch.tensor([1.0, 2.0]).double())
    torch.testing.assert_close(found.covariance, torch.eye(2).double())
    model = new_model()
    x = counts()
    found = models.aggregate_posterior(model, x, samples=6400)
    kl = D.kl_divergence(model.encode(x), D.Independent(D.Normal(torch.zeros(2), 1.0), 1)).mean()
    assert found.kl + found.mutual_information == pytest.approx(kl.item(), abs=0.05)
