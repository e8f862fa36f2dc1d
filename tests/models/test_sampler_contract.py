"""What models without a density keep to: gradients, files, resumption, refusals."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pyneural.models import (
    DDPM,
    Autoencoder,
    FlowMatching,
    GaussianLikelihood,
    LatentDiffusion,
    MLPDenoiser,
    TransformerDenoiser,
    UNetDenoiser,
    VariationalAutoencoder,
    load_model,
)
from pyneural.training import Batch
from pyneural.training.callbacks import EMA


def on_vectors(kind, condition=0):
    options = {"steps": 20} if kind is DDPM else {}
    return kind(MLPDenoiser(3, [16, 16], condition), drop_condition=0.1, **options), (3,)


def on_images(network, condition=0):
    denoiser = network((1, 4, 4), condition=condition)
    model = DDPM(denoiser, "cosine", "v", steps=20, drop_condition=0.1, bounds=(-1, 1))
    return model, (1, 4, 4)


def vae():
    return VariationalAutoencoder([3, 8, 2], GaussianLikelihood(0.5))


def on_latent_vectors(autoencoder, condition=0):
    return LatentDiffusion(autoencoder(), DDPM(MLPDenoiser(2, [16], condition), steps=20)), (3,)


# A constructor each, of the columns of the condition; it gives the shape of a sample, too.
SAMPLERS = {
    "DDPM": partial(on_vectors, DDPM),
    "flow matching": partial(on_vectors, FlowMatching),
    "DDPM, U-Net": partial(on_images, partial(UNetDenoiser, width=8, heads=2)),
    "DDPM, transformer": partial(
        on_images, partial(TransformerDenoiser, patch=2, d_model=8, heads=2, layers=1)
    ),
    "latent diffusion": partial(
        on_latent_vectors, partial(Autoencoder, [3, 8, 2], latent_activation="linear")
    ),
    "latent diffusion, VAE": partial(on_latent_vectors, vae),
}
every_sampler = pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)


def made_sampler(make, condition=2):
    """The model, and data of it with their classes."""
    torch.manual_seed(0)
    model, shape = make(condition=condition)
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.rand(20, *shape, generator=generator) - 1
    return model, x, torch.arange(20) % condition if condition else None


def batch_of(x, y):
    return Batch(x, y, None, len(x), 1.0)


@every_sampler
@pytest.mark.parametrize("condition", [0, 2])
def test_gradient_of_a_sampler_reaches_every_trained_parameter(make, condition):
    model, x, y = made_sampler(make, condition)
    model.compile("adam")
    model.fit(x, y, batch_size=5, epochs=2, verbose=0)  # layers that begin at zero are left
    model.train()
    model.zero_grad()
    (loss,) = model.losses(batch_of(x, y)).values()
    loss.backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert any("denoiser" in name for name in trained)
    assert not any("autoencoder" in name for name in trained)
    for name, parameter in trained.items():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@every_sampler
def test_sampler_after_training_save_and_load_and_resumed(make, tmp_path):
    """With an exponential moving average of the weights."""
    path, weights, drawn = tmp_path / "fit.safetensors", [], []
    for epochs in ([4], [2, 4]):
        for n in epochs:
            model, x, y = made_sampler(make)
            model.compile("adam")
            torch.manual_seed(2)
            model.fit(
                x, y, batch_size=5, epochs=n, verbose=0, callbacks=[EMA(0.8)], resume=True,
                checkpoint=path.with_stem(f"fit{len(epochs)}"),
            )  # fmt: skip
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert repr(again) == repr(model)
    for one in (model, again):
        torch.manual_seed(1)
        drawn.append(one.sample(6, torch.arange(6) % 2, steps=4))
    assert drawn[0].shape == (6, *x.shape[1:])
    assert torch.equal(*drawn)


@every_sampler
def test_bad_input_of_a_sampler_is_refused(make):
    model, x, y = made_sampler(make)
    model.compile("adam")
    with pytest.raises(ValueError, match="at least one row"):
        model.losses(batch_of(x[:0], y[:0]))
    with pytest.raises(ValueError, match="at least one sample"):
        model.fit(x[:0], y[:0], verbose=0)
    with pytest.raises(ValueError, match="nan or infinite"):
        model.fit(x / 0, y, verbose=0)
    with pytest.raises(ValueError, match="classes from 0 to 1"):
        model.sample(3, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="3 of them"):
        model.sample(3, torch.tensor([0, 1]))
