"""Conditional diffusion of residuals: closed forms, training, files, what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.models import (
    DDPM,
    ImageDiffusion,
    ImageToImage,
    NoiseSchedule,
    UNetDenoiser,
    load_model,
)
from pyneural.models.diffusion.image_denoiser import ImageDenoiser
from pyneural.training.callbacks import EMA


def made(scale=2, steps=20, **options):
    torch.manual_seed(0)
    network = ImageToImage(1, scale, width=8, blocks=1)
    torch.nn.init.normal_(network.last.weight, std=0.1)
    denoiser = UNetDenoiser((4, 8, 8), 8, attention=0, condition_channels=8)
    return ImageDiffusion(network, DDPM(denoiser, "cosine", "v", steps=steps, **options))


def pairs(count=12, scale=2, size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.rand(count, 1, scale * size, scale * size, generator=generator)
    return torch.nn.functional.avg_pool2d(y, scale), y


class Known(ImageDenoiser):
    """What is best where the residual is m d + w eps', d the first channels of the condition.

    With x_t = alpha r + sigma eps and r ~ N(m d, w^2) its mean given x_t is
    m d + alpha w^2 / (alpha^2 w^2 + sigma^2) (x_t - alpha m d).
    """

    def __init__(self, schedule, slope, width):
        super().__init__((4, 8, 8), 8, 8, 0, 8, divisor=2)
        self.schedule, self.slope, self.width = schedule, slope, width

    def forward(self, x, t, c=None):
        index = (t * self.schedule.steps).round().long()
        alpha, sigma = (
            of_time[index].float()[:, None, None, None]
            for of_time in (self.schedule.alpha, self.schedule.sigma)
        )
        mean = self.slope * c[:, :4]
        gain = alpha * self.width**2 / ((alpha * self.width) ** 2 + sigma**2)
        return mean + gain * (x - alpha * mean)


def test_samples_have_the_distribution_of_a_known_residual():
    """Units, the order of the pixels, and condition: mean and spread of y given x are exact."""
    schedule = NoiseSchedule.cosine(200)
    network = ImageToImage(1, 2, width=8, blocks=1)
    model = ImageDiffusion(network, DDPM(Known(schedule, 0.5, 0.3), schedule, "x0"))
    model.shift.fill_(0.2)
    model.scale.fill_(0.7)
    model.diffusion.scale.fill_(0.1)
    model.diffusion.scaled.fill_(True)
    x = torch.rand(1, 1, 6, 9)
    y = model.sample(x.expand(1000, -1, -1, -1))
    g = network(x).detach()
    mean = g + 0.1 * 0.5 * (g - 0.2) / 0.7
    torch.testing.assert_close(y.mean(0, keepdim=True), mean, rtol=0, atol=0.006)
    # The noise of a step is that of data without width (Ho, Jain and Abbeel, section 3.2).
    assert y.std(0).mean().item() == pytest.approx(0.03, rel=0.05)


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (3, 1)])
@pytest.mark.parametrize("scale", [1, 2])
def test_any_size(size, scale):
    y = made(scale).sample(torch.rand(2, 1, *size), steps=3)
    assert y.shape == (2, 1, *(scale * edge for edge in size))
    assert y.isfinite().all()


def test_mean_of_samples_and_seed():
    model, x = made(), torch.rand(2, 1, 8, 8)
    drawn = []
    for draw in (lambda: model.sample(x, steps=4), lambda: model.mean(x, 1, steps=4)):
        torch.manual_seed(3)
        drawn.append(draw())
    assert torch.equal(*drawn)
    assert not torch.equal(model.sample(x, steps=4), drawn[0])


def test_training_leaves_the_network_and_measures_units():
    model, (x, y) = made(), pairs()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    model.compile("adam")
    history = model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[EMA(0.5)])
    assert list(history.history) == ["loss"]
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    with torch.no_grad():
        error = (y - model.network(x)).std().item()
    assert model.diffusion.scale.item() == pytest.approx(error)
    assert model.shift.item() == pytest.approx(y.mean().item())
    assert any(p.grad is not None for p in model.diffusion.parameters())
    assert torch.equal(model.predict(x), model.network.predict(x))


def test_loss_is_that_of_standard_normal_residuals():
    """An untrained denoiser says 0; v of normal data has the mean square 1."""
    model, (x, y) = made(), pairs(200)
    model.compile("adam")
    model.set_scale(x, y)
    assert model.evaluate(x, y, batch_size=200) == pytest.approx(1, abs=0.05)


def test_same_samples_after_save_and_load(tmp_path):
    model, (x, y) = made(), pairs()
    model.compile("adam")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.safetensors")
    again, drawn = load_model(tmp_path / "model.safetensors"), []
    for one in (model, again):
        torch.manual_seed(1)
        drawn.append(one.sample(x, steps=5))
    assert torch.equal(*drawn)
    assert not any(p.requires_grad for p in again.network.parameters())


def test_resumed_training_is_the_same_bit_by_bit(tmp_path):
    x, y = pairs()
    weights = []
    for stops in ([4], [2, 4]):
        for epochs in stops:
            model = made()
            model.compile("adam")
            torch.manual_seed(1)
            path = tmp_path / f"{len(stops)}.safetensors"
            options = {"callbacks": [EMA(0.9)], "checkpoint": path, "resume": True}
            model.fit(x, y, 4, epochs, 0, **options)
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def fit(x, y):
    model = made()
    model.compile("adam")
    model.fit(x, y, verbose=0)


X, Y = pairs(2)
NETWORK = ImageToImage(1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ImageDiffusion(DDPM(NETWORK), made().diffusion), "network: expected an Image"),
        (lambda: ImageDiffusion(NETWORK, NETWORK), "diffusion: expected a DDPM, got ImageToImage"),
        (lambda: ImageDiffusion(ImageToImage(3), made().diffusion),
         r"expected \[12, 24\], got \[4, 8\]; write UNetDenoiser\(\(12, 24, 24\)"),
        (lambda: made().sample(X[0]), r"sample: x: expected \[N, 1, H, W\], got \[1, 8, 8\]"),
        (lambda: made().sample(X, steps=21), "count: expected from 1 to 20 steps, got 21"),
        (lambda: made().mean(X, 0), "mean: samples: expected a whole number >= 1, got 0"),
        (lambda: fit(X, None), "y: expected a tensor of floats"),
        (lambda: fit(X, X), r"y: expected \[2, 1, 16, 16\], got \[2, 1, 8, 8\]; give the true"),
        (lambda: fit(X, Y[:1]), r"y: expected \[2, 1, 16, 16\], got \[1, 1, 16, 16\]"),
        (lambda: fit(X, Y.int()), "y: expected a tensor of floats"),
        (lambda: fit(X, made().network(X).detach()), "a residual that varies, got 0"),
        (lambda: fit(X * math.nan, Y), "finite"),
    ],
)  # fmt: skip
def test_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
