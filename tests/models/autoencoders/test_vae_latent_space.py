"""Samples, reconstructions, lines and planes of the latent space."""

import math

import numpy as np
import pytest
import torch

from pyneural.models import VariationalAutoencoder, aggregate_posterior
from tests.models.autoencoders.vae_examples import counts, new_model


def test_latent_space():
    model, x = new_model(), counts(8)
    line = model.interpolate(x[:3], x[3:6], 5)
    assert line.shape == (5, 3, 6)
    torch.testing.assert_close(line[0], model.reconstruct(x[:3]))
    torch.testing.assert_close(line[-1], model(x[3:6]).detach())
    middle = (model.encode(x[:3]).mean + model.encode(x[3:6]).mean) / 2
    torch.testing.assert_close(line[2], model.decode(middle).mean)
    z, plane = model.latent_plane(3)
    assert z.shape == (3, 3, 2)
    assert plane.shape == (3, 3, 6)
    assert (z[1, 1] == 0).all()
    assert z[0, 2].tolist() == pytest.approx([0.9674, 0.9674], abs=1e-4)  # above on the right
    torch.testing.assert_close(plane[0, 2], model.decode(z[0, 2][None]).mean[0])
    array = model.reconstruct(x.numpy().astype("int64"))
    np.testing.assert_allclose(array, model.predict(x), rtol=1e-6)
    found = model.sample(4000)
    assert set(found.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    torch.testing.assert_close(
        found.mean(0), model.sample(4000, mean=True).mean(0), rtol=0, atol=0.15
    )


def test_pictures_and_measures_are_made_in_evaluation_mode():
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 4)
    )
    decoder = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(2, 6))
    model = VariationalAutoencoder(encoder, "bernoulli", decoder=decoder, latent=2)
    x = counts(8) / 4

    def made():
        torch.manual_seed(1)
        measured = aggregate_posterior(model, x, samples=10)
        return [
            model.sample(5), model.reconstruct(x), model.interpolate(x[:4], x[4:]),
            *model.latent_plane(3), measured.mean, torch.tensor(measured.kl),
        ]  # fmt: skip

    encoder[1].eval()  # a part that is kept as it is while the others are trained
    of_training, statistics = made(), encoder[1].running_mean.clone()
    assert model.training
    assert decoder[0].training
    assert not encoder[1].training
    assert torch.equal(statistics, torch.zeros(8))
    model.eval()
    assert all(map(torch.equal, of_training, made()))
    assert not model.training


def test_images_through_modules_of_their_own():
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 6)
    )
    decoder = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.Unflatten(1, (1, 8, 8)))
    model = VariationalAutoencoder(encoder, decoder=decoder, latent=3)
    model.compile("adam", accumulation_steps=2, clip_norm=1.0)
    x = (torch.rand(20, 1, 8, 8) < 0.3).float()
    history = model.fit(x, epochs=2, verbose=0, sample_weight=np.ones(20))
    assert math.isfinite(history["loss"][-1])
    assert model.log_prob(x, 3).shape == (20,)
    assert model.sample(2).shape == (2, 1, 8, 8)
