"""The convolutional network for images: closed forms, tiles, training, files, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from pyneural import data
from pyneural.errors import ArgumentError
from pyneural.models import ImageToImage, load_model
from pyneural.training.callbacks import TorchScheduler

SCALES = pytest.mark.parametrize("scale", [1, 2, 3])


def made(scale=1, **options):
    """A small network whose every layer counts."""
    torch.manual_seed(0)
    model = ImageToImage(2, scale, width=8, blocks=2, **options)
    torch.nn.init.normal_(model.last.weight, std=0.1)
    return model


@SCALES
def test_untrained_it_is_the_image_or_bicubic_interpolation(scale):
    x = torch.rand(2, 3, 9, 14)
    expected = x if scale == 1 else interpolate(x, (9 * scale, 14 * scale), mode="bicubic")
    torch.testing.assert_close(ImageToImage(3, scale)(x), expected)


@pytest.mark.parametrize("size", [(8, 6), (9, 7)])
def test_squares_are_laid_out_as_they_were_stacked(size):
    """With unit kernels the network is y = x + 3 x."""
    model = ImageToImage(2, width=8, blocks=1)
    with torch.no_grad():
        for layer, factor in ((model.first, 1.0), (model.last, 3.0)):
            layer.weight.zero_()[:, :, 1, 1] = factor * torch.eye(8)
            layer.bias.zero_()
        model.body[0].conv2.weight.zero_()
        model.body[0].conv2.bias.zero_()
    x = torch.rand(3, 2, *size)
    torch.testing.assert_close(model(x), 4 * x)


def test_sub_pixels_lie_in_their_pixel():
    """Biases of the last layer alone: the same square of corrections at each pixel."""
    model = ImageToImage(1, 2, width=4, blocks=1)
    with torch.no_grad():
        model.last.bias.copy_(torch.arange(4.0))
    y = model(torch.zeros(1, 1, 3, 2))
    assert y[0, 0].tolist() == [[0, 1] * 2, [2, 3] * 2] * 3


@SCALES
@pytest.mark.parametrize("tile", [16, 23])
def test_parts_give_the_result_of_the_whole_image(scale, tile):
    model = made(scale, tile=tile).double()
    x = torch.rand(2, 2, 51, 70, dtype=torch.float64)
    whole = model(x).detach()
    with torch.no_grad():
        parts = model(x)
    assert whole.shape == (2, 2, 51 * scale, 70 * scale)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_reach():
    """What a pixel depends on: the squares of 2 x 2 pixels around its own."""
    model = made().double()
    x = torch.rand(1, 2, 61, 61, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x)[0, 0, 30, 30], x)
    touched = gradient[0].abs().sum((0, 1)).nonzero().flatten()
    assert touched.max() - touched.min() + 1 == 2 * model.reach + 2
    assert touched.min() == 30 - model.reach


@SCALES
def test_gradients_reach_every_parameter(scale):
    model = made(scale)
    model(torch.rand(2, 2, 8, 8)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def stars(count=40, size=96):
    """Points of light, blurred: an image that a network can learn to restore."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, size, 2 * size)
    places = torch.randint(size * 2 * size, (count * 2,), generator=generator)
    image.view(-1)[places] = 4 + 8 * torch.rand(2 * count, generator=generator)
    return data.gaussian_blur(image, 1.0).clamp(0, 1)


@pytest.mark.parametrize("task", ["denoise", "super-resolution"])
def test_training_beats_the_input_on_the_other_half(task):
    (x, y), (x_test, y_test) = data.image_pairs(stars(), task, count=128, size=32)
    torch.manual_seed(0)
    model = ImageToImage(1, 2 if task == "super-resolution" else 1, width=16, blocks=1)
    model.compile("adam", "mse")
    before = model.evaluate(x_test, y_test)
    model.fit(x, y, batch_size=16, epochs=5, verbose=0)
    after = (torch.from_numpy(model.predict(x_test.numpy())) - y_test).square().mean().item()
    assert after == pytest.approx(model.evaluate(x_test, y_test), rel=1e-4)
    assert after < before / (2.5 if task == "denoise" else 1.3)


def test_same_images_after_save_and_load(tmp_path):
    model = made(2, tile=9)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    x = torch.rand(3, 2, 20, 11)
    assert again.get_config() == model.get_config()
    assert torch.equal(again.predict(x), model.predict(x))
    with pytest.raises(ValueError, match="shape"):
        made(3).load(tmp_path / "model.safetensors")


def test_resumed_training_is_the_same_bit_by_bit(tmp_path):
    x, y = torch.rand(12, 2, 8, 8), torch.rand(12, 2, 8, 8)
    weights = []
    for stops in ([4], [2, 4]):
        for epochs in stops:
            model = made()
            model.compile("adam", "mae")
            cycle = TorchScheduler(
                lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1e-2, total_steps=12), "batch"
            )
            torch.manual_seed(1)
            path = tmp_path / f"{len(stops)}.safetensors"
            model.fit(x, y, 4, epochs, 0, [cycle], checkpoint=path, resume=True)
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_arrays_and_frames_of_any_size():
    model = made(2)
    y = model.predict(np.ones((2, 2, 5, 9), np.float32))
    assert isinstance(y, np.ndarray)
    assert y.shape == (2, 2, 10, 18)
    assert math.isfinite(y.sum())


def fit(x, y, scale=1):
    model = made(scale)
    model.compile("adam", "mae")
    model.fit(x, y, verbose=0)


X = torch.rand(4, 2, 8, 8)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ImageToImage(0), "ImageToImage: channels: expected a whole number >= 1, got 0"),
        (lambda: ImageToImage(width=2.5), "ImageToImage: width: expected a whole number"),
        (lambda: made()(X[0]), r"x: expected \[N, 2, H, W\], got \[2, 8, 8\]; add the missing"),
        (lambda: made()(X[:, :1]), r"expected \[N, 2, H, W\], got \[4, 1, 8, 8\]"),
        (lambda: made().predict(X.movedim(1, 3)), r"predict: x: .* channels stand before the"),
        (lambda: fit(X[:, :1], X), r"fit: x: expected \[N, 2, H, W\]"),
        (lambda: fit(X, X[:, :1]), r"fit: y: expected \[N, 2, H, W\], got \[4, 1, 8, 8\]; give"),
        (lambda: fit(X, X[:, :, :7], scale=2), r"fit: y: .* H and W multiples of 2, got .* 7, 8\]"),
        (lambda: fit(X, X[:, :, ::2, ::2]), r"expected shape .4, 2, 8, 8. .* got .4, 2, 4, 4."),
        (lambda: fit(X, X, scale=2), r"expected shape .4, 2, 16, 16. .* got .4, 2, 8, 8."),
        (lambda: fit(X * math.nan, X), "fit: x: expected finite"),
    ],
)  # fmt: skip
def test_refused(call, text):
    with pytest.raises(ValueError, match=text) as caught:
        call()
    assert "ImageToImage" not in text or isinstance(caught.value, ArgumentError)


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError, match=r"x\.astype\('float32'\) / 255 for images"):
        fit((255 * X).byte(), X)
