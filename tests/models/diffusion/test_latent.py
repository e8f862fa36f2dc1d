"""Diffusion of the latent vectors of an autoencoder."""

import numpy as np
import pytest
import torch

from pyneural.models import (
    DDPM,
    Autoencoder,
    FlowMatching,
    GaussianLikelihood,
    LatentDiffusion,
    MLPDenoiser,
    VariationalAutoencoder,
)


class Rotation(torch.nn.Module):
    """An autoencoder without loss: z = x R, with units of its own."""

    def __init__(self):
        super().__init__()
        turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]]) * torch.tensor([100.0, 0.01])
        self.turn = torch.nn.Parameter(turn)

    def encode(self, x):
        return x @ self.turn + 7

    def decode(self, z):
        return (z - 7) @ self.turn.inverse()


def made(autoencoder, latent=2, kind=DDPM, **options):
    torch.manual_seed(0)
    options |= {"steps": 100} if kind is DDPM else {}
    model = LatentDiffusion(autoencoder, kind(MLPDenoiser(latent, [32, 32], 2), **options))
    model.compile(lambda parameters: torch.optim.Adam(parameters, 3e-3))
    return model


@pytest.mark.parametrize("kind", [DDPM, FlowMatching])
def test_samples_have_the_distribution_of_the_data(kind):
    torch.manual_seed(1)
    y = torch.arange(2000) % 2
    x = torch.randn(2000, 2) * torch.tensor([1.0, 0.5]) + 4.0 * y[:, None]
    autoencoder = Rotation()
    before = autoencoder.turn.detach().clone()
    model = made(autoencoder, kind=kind)
    model.fit(x, y, epochs=30, batch_size=250, verbose=0)
    assert torch.equal(autoencoder.turn, before)
    for k in (0, 1):
        found = model.sample(1000, torch.full((1000,), k), steps=25)
        torch.testing.assert_close(found.mean(0), torch.full((2,), 4.0 * k), rtol=0, atol=0.2)
        torch.testing.assert_close(found.std(0), torch.tensor([1.0, 0.5]), rtol=0.2, atol=0)
    torch.testing.assert_close(model.predict(x), x, rtol=1e-4, atol=1e-4)


def test_latent_vectors_of_a_variational_autoencoder():
    """Drawn from q(z|x) in training, and its mean where a loss is measured."""
    torch.manual_seed(0)
    model = made(VariationalAutoencoder([4, 2], GaussianLikelihood(0.5)))
    x, seen = torch.randn(300, 4), []
    model.fit(x, torch.arange(300) % 2, verbose=0)
    q = model.autoencoder.encode(x)
    model.diffusion.errors = lambda z, c, generator: seen.append(z) or z[:, 0]
    scaled = (q.mean - model.diffusion.shift) / model.diffusion.scale
    for mode in (False, True, True):
        model.train(mode)
        model.losses(batch(x))
    assert not model.autoencoder.training
    torch.testing.assert_close(seen[0], scaled)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(2))
    spread = (seen[1] - scaled).std(0) * model.diffusion.scale
    torch.testing.assert_close(spread, q.stddev.square().mean(0).sqrt(), rtol=0.15, atol=0)
    assert not torch.equal(seen[1], seen[2])


def batch(x):
    from pyneural.training import Batch

    return Batch(x, None, None, len(x), 1.0)


def test_bad_parts_and_data_are_refused():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="encode and decode, got Linear"):
        LatentDiffusion(torch.nn.Linear(2, 2), DDPM(MLPDenoiser(2)))
    with pytest.raises(ValueError, match="a diffusion model, got MLPDenoiser"):
        LatentDiffusion(Rotation(), MLPDenoiser(2))
    x, y = torch.randn(20, 2), torch.arange(20) % 2
    with pytest.raises(ValueError, match=r"latent vectors: expected \[N, 3\], got \[20, 2\]"):
        made(Rotation(), 3).fit(x, y, verbose=0)
    dead = Autoencoder([2, 3], "relu")
    dead.encoder[0].bias.data.copy_(torch.tensor([9.0, -99.0, 9.0]))
    with pytest.raises(ValueError, match=r"constant ones \[1\]; train the autoencoder with"):
        made(dead, 3).fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="nan or infinite"):
        made(Rotation()).fit(np.array([[1.0, np.nan]] * 20), y, verbose=0)
