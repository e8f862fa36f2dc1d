"""Priors of the variational autoencoder that are trained along."""

import pytest
import torch

from tests.models.autoencoders.vae_examples import Mixture, counts, new_model


def test_a_prior_is_trained_along():
    model = new_model(prior="mixture")
    before = [parameter.clone() for parameter in model.prior.parameters()]
    x = counts(200)
    start = model.evaluate(x, return_dict=True)["elbo"]
    model.fit(x, epochs=40, verbose=0)
    assert model.evaluate(x, return_dict=True)["elbo"] > start + 1
    for old, new in zip(before, model.prior.parameters(), strict=True):
        assert not torch.equal(old, new)
    assert model.sample(7).shape == (7, 6)


class Half(Mixture):
    """As a flow of this package: ``log_prob`` of its own, but samples from what its call gives."""

    def log_prob(self, x, context=None):
        raise AssertionError("called in place of the distribution's")


def test_a_module_that_only_has_log_prob_is_called():
    model = new_model(Half(2))
    model.fit(counts(), epochs=1, verbose=0)
    assert model.sample(3).shape == (3, 6)


def test_flow_of_zuko_is_a_prior():
    zuko = pytest.importorskip("zuko")
    model = new_model(prior=zuko.flows.MAF(2, transforms=1, hidden_features=(8,)))
    model.fit(counts(), epochs=1, verbose=0)
    model.elbo(counts()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.prior.parameters())
    assert model.sample(3).shape == (3, 6)
