"""Likelihoods p(x|z) against torch's distributions."""

import copy

import numpy as np
import pytest
import torch
from torch import distributions as D

from pyneural import models
from tests.models.autoencoders.vae_examples import counts, new_model

LIKELIHOODS = {
    "bernoulli": (models.BernoulliLikelihood(), lambda o: D.Bernoulli(logits=o), 1),
    "binomial": (models.BinomialLikelihood(16), lambda o: D.Binomial(16, logits=o), 16),
    "fixed": (models.GaussianLikelihood(0.3), lambda o: D.Normal(o, 0.3), None),
    "learned": (models.GaussianLikelihood(0.3, learned=True), lambda o: D.Normal(o, 0.3), None),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_likelihoods_are_those_of_torch(name, dtype):
    likelihood, by_torch, trials = LIKELIHOODS[name]
    likelihood = copy.deepcopy(likelihood).to(dtype)
    generator = torch.Generator().manual_seed(0)
    output = 4 * torch.randn(6, 3, 4, dtype=dtype, generator=generator)
    x = torch.randn(6, 3, 4, dtype=dtype, generator=generator)
    if trials is not None:
        x = (x.abs() * trials).round().clamp(0, trials)
        x[0], output[0, 0, :2] = trials, torch.tensor([200.0, -200.0])  # saturated
    expected = by_torch(output).log_prob(x).flatten(1).sum(1)
    # Of float32, the standard deviation exp(log 0.3) has a rounding of its own.
    tolerance = {"rtol": 1e-5 if dtype == torch.float32 else 1e-7, "atol": 1e-5}
    torch.testing.assert_close(likelihood.log_prob(output, x), expected, **tolerance)
    torch.testing.assert_close(likelihood(output).log_prob(x), expected, **tolerance)
    torch.testing.assert_close(likelihood(output).mean, by_torch(output).mean, **tolerance)


@pytest.mark.parametrize("samples", [3, 300])  # fewer elements than coefficients, or more
def test_many_trials_are_exact_in_float32(samples):
    trials, generator = 65_535, torch.Generator().manual_seed(0)
    output = torch.randn(samples, 256, generator=generator)
    x = torch.binomial(torch.full_like(output, trials), output.sigmoid(), generator=generator)
    x[0, :2] = torch.tensor([0.0, trials])
    expected = D.Binomial(trials, logits=output.double()).log_prob(x.double()).sum(1)
    found = models.BinomialLikelihood(trials).log_prob(output, x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-3)


def test_numbers_of_numpy_are_numbers(tmp_path):
    likelihood = models.GaussianLikelihood(np.float32(0.5), learned=True)
    assert likelihood.std == pytest.approx(0.5)
    model = new_model(likelihood=likelihood, beta=np.float32(2.0), warm_up=np.int64(3))
    model.save(tmp_path / "vae.safetensors")
    loaded = models.load_model(tmp_path / "vae.safetensors")
    assert (loaded.beta, loaded.warm_up, loaded.likelihood.std) == (2.0, 3, likelihood.std)
    assert models.BinomialLikelihood(np.int64(4)).trials == 4


@pytest.mark.parametrize("prior", [None, "mixture"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("likelihood", ["binomial", "learned"])
def test_a_gradient_reaches_every_parameter(prior, dtype, likelihood):
    kind = copy.deepcopy(LIKELIHOODS["learned"][0])
    options = {"likelihood": kind} if likelihood == "learned" else {}
    model = new_model(prior, **options).to(dtype)
    (-model.elbo(counts(dtype=dtype)).mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        assert parameter.dtype == dtype
    assert model.sample(3).dtype == dtype
