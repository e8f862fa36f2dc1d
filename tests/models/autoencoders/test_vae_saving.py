"""The variational autoencoder saved and loaded."""

import pickle

import pytest
import torch

from pyneural import models
from pyneural.models import RealNVP, VariationalAutoencoder
from pyneural.training import CheckpointError, save_checkpoint
from tests.models.autoencoders.vae_examples import counts, new_model


def test_saved_and_loaded_gives_the_same_samples(tmp_path):
    model = new_model(warm_up=6, prior="mixture")
    model.fit(counts(), epochs=1, verbose=0)
    model.save(tmp_path / "vae.safetensors")
    other = new_model(warm_up=6, prior="mixture")
    other.load(tmp_path / "vae.safetensors")
    drawn = []
    for one in (model, other):
        torch.manual_seed(9)
        drawn.append(one.sample(5))
    assert torch.equal(*drawn)
    assert other.term_weights == model.term_weights
    assert "BinomialLikelihood(4)" in repr(other)


@pytest.mark.parametrize("kind", ["binomial", "bernoulli", "gaussian", "images"])
def test_load_model_makes_it_without_code(tmp_path, kind):
    likelihoods = {"binomial": models.BinomialLikelihood(4), "images": "bernoulli"}
    likelihoods["gaussian"] = models.GaussianLikelihood(0.5, learned=True)
    model = new_model(likelihood=likelihoods.get(kind, kind), beta=2.0, warm_up=7, unit="epoch")
    x = counts().double() / (1 if kind == "binomial" else 4)
    if kind == "images":
        x = x.view(-1, 1, 2, 3)
        encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 4))
        decoder = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Unflatten(1, (1, 2, 3)))
        model = VariationalAutoencoder(encoder, decoder=decoder, latent=2)
    model.double().save(tmp_path / "vae.safetensors")
    other = models.load_model(tmp_path / "vae.safetensors")
    assert torch.equal(other.reconstruct(x), model.reconstruct(x))
    assert repr(other) == repr(model)
    assert other.config() == model.config()
    assert other.term_weights == model.term_weights
    pickled = pickle.loads(pickle.dumps(model))
    assert torch.equal(pickled.reconstruct(x), model.reconstruct(x))


def test_load_model_refuses_a_prior_that_takes_code(tmp_path):
    new_model("mixture").save(tmp_path / "vae.safetensors")
    with pytest.raises(ValueError, match="make the model and use its load"):
        models.load_model(tmp_path / "vae.safetensors")


def with_flow(whitened):
    torch.manual_seed(4)
    prior = RealNVP(2, transforms=1, hidden_features=[4])
    if whitened:
        prior.whiten(3 * torch.randn(50, 2) + 1)
    return new_model(prior)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("saved", [True, False])
def test_a_flow_as_prior_has_the_whitening_of_the_file(tmp_path, saved, before):
    model, other = with_flow(saved), with_flow(before)
    model.save(tmp_path / "vae.safetensors")
    other.load(tmp_path / "vae.safetensors")
    assert other.prior.whitened == saved
    z = torch.randn(5, 2)
    assert torch.equal(other.prior.log_prob(z), model.prior.log_prob(z))


def test_a_flow_as_prior_keeps_its_whitening_where_a_part_is_loaded():
    model, plain = with_flow(True), with_flow(False).state_dict()
    z = torch.randn(5, 2)
    expected = model.prior.log_prob(z)
    encoder = {name: value for name, value in plain.items() if name.startswith("encoder.")}
    model.load_state_dict(encoder, strict=False)
    assert torch.equal(model.prior.log_prob(z), expected)
    model.load_state_dict(encoder | {"prior.base.loc": plain["prior.base.loc"]}, strict=False)
    assert model.prior.whitened
    model.load_state_dict(plain)
    assert not model.prior.whitened


def test_a_refused_file_leaves_the_flow_as_it_was(tmp_path):
    larger = VariationalAutoencoder([6, 9, 2], prior=with_flow(False).prior)
    larger.save(tmp_path / "vae.safetensors")
    model = with_flow(True)
    with pytest.raises(CheckpointError, match="encoder"):
        model.load(tmp_path / "vae.safetensors")
    assert model.prior.whitened


def test_load_model_compares_the_weights_before_it_takes_memory(tmp_path):
    model, path = new_model(), tmp_path / "vae.safetensors"
    config = model.architecture()
    config["arguments"]["encoder"]["arguments"]["hidden"] = [10**6, 10**6]
    save_checkpoint(path, model.state_dict(), {"model": "VariationalAutoencoder", "config": config})
    with pytest.raises(CheckpointError, match=r"load: encoder.*: expected shape \(1000000, 6\)"):
        models.load_model(path)
