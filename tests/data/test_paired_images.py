"""Degraded images: against scipy and numpy, halves that stay apart, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from pyneural import data
from pyneural.data import paired_images
from pyneural.errors import ArgumentError


def test_blur_is_that_of_scipy():
    scipy = pytest.importorskip("scipy.ndimage")
    x = torch.rand(2, 3, 40, 31, dtype=torch.float64)
    for sigma in (0.4, 1.5, 3.0):
        expected = scipy.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode="mirror", truncate=4)
        # scipy rounds the radius, and this one is never below 4 sigma.
        limit = 1e-12 if (4 * sigma).is_integer() else 2e-4
        assert np.abs(data.gaussian_blur(x, sigma).numpy() - expected).max() < limit, sigma


def test_pixels_are_means_of_squares():
    x = torch.rand(2, 3, 12, 18)
    expected = x.numpy().reshape(2, 3, 4, 3, 6, 3).mean((3, 5))
    np.testing.assert_allclose(data.downsample(x, 3).numpy(), expected, rtol=1e-5)


def test_noise_is_normal_and_that_of_the_seed():
    x = torch.full((4, 100, 100), 0.5)
    noise = data.add_noise(x, 0.2, 3) - x
    assert noise.mean().abs() < 0.004
    assert noise.std().item() == pytest.approx(0.2, rel=0.02)
    assert (noise.abs() < 0.2).double().mean().item() == pytest.approx(0.683, abs=0.01)
    assert torch.equal(data.add_noise(x, 0.2, 3), data.add_noise(x, 0.2, 3))
    assert not torch.equal(data.add_noise(x, 0.2, 3), data.add_noise(x, 0.2, 4))
    assert torch.equal(data.add_noise(x, 0.0), x)


def halves(left=0.25, right=0.75):
    return torch.cat([torch.full((2, 100, 60), left), torch.full((2, 100, 61), right)], 2)


@pytest.mark.parametrize("task", paired_images.TASKS)
def test_no_half_sees_the_other(task):
    train, test = data.image_pairs(halves(), task, count=50, size=32)
    for pairs, value in ((train, 0.25), (test, 0.75)):
        assert pairs.y.unique().tolist() == [value]
        sigma = {"denoise": 0.1, "deblur": 0.01, "super-resolution": 0.0}[task]
        assert (pairs.x - value).std().item() == pytest.approx(sigma, rel=0.05)
        assert (pairs.x - value).mean().abs() < 0.003
    assert test.y.shape == (1, 2, 60, 60)


def test_crops_lie_within_the_half_turned_and_mirrored():
    image = torch.rand(1, 60, 120, generator=torch.Generator().manual_seed(0))
    (_, crops), (_, held_out) = data.image_pairs(image, "denoise", count=300, size=16)
    left, right = image[:, :, :60], image[:, :, 60:]
    places = left.unfold(1, 16, 1).unfold(2, 16, 1)[0]  # [45, 45, 16, 16]
    seen, corners = set(), set()
    for crop in crops[:, 0]:
        # The eight ways to turn and mirror, undone.
        for way in range(8):
            back = (crop.flip(1) if way > 3 else crop).rot90(-(way % 4))
            found = (places[:, :, 0, 0] == back[0, 0]).nonzero().tolist()
            if any(torch.equal(places[i, j], back) for i, j in found):
                seen.add(way)
                corners.add(tuple(found[0]))
    assert seen == set(range(8))
    assert len(corners) > 250
    assert min(i for i, _ in corners) < 3
    assert max(i for i, _ in corners) > 41
    assert torch.equal(held_out, right[None])


def test_blurred_crops_see_beyond_their_edges():
    image = torch.rand(1, 200, 400, generator=torch.Generator().manual_seed(0))
    _, test = data.image_pairs(image, "deblur", count=1)
    whole = data.gaussian_blur(image[:, :, 200:], 1.5)
    error = (test.x[0] - whole[:, :96, :96]).std().item()
    assert error == pytest.approx(0.01, rel=0.1)
    assert (data.degrade(test.y, "deblur")[0] - whole[:, :96, :96]).abs().max() > 0.06


def test_noise_differs_between_crops_and_seeds_but_not_of_the_held_out():
    image = halves()
    first, test = data.image_pairs(image, "denoise", 4, 24, seed=0)
    second, again = data.image_pairs(image, "denoise", 4, 24, seed=1)
    assert not torch.equal(first.x[0], first.x[1])
    assert not torch.equal(first.x, second.x)
    assert torch.equal(test.x, again.x)
    assert torch.equal(first.x, data.image_pairs(image, "denoise", 4, 24)[0].x)


def test_hubble():
    pytest.importorskip("skimage")
    image = data.hubble_deep_field()
    assert image.shape == (3, 872, 1000)
    assert (image.min(), image.max()) == (0, 1)
    (x, y), (x_test, y_test) = data.hubble_pairs("denoise", count=3)
    assert x.shape == y.shape == (3, 3, 48, 48)
    assert x_test.shape == y_test.shape == (45, 3, 96, 96)
    assert torch.equal(y_test[5], image[:, 96:192, 500:596])
    psnr = -10 * (x_test - y_test).square().mean().log10()
    assert psnr.item() == pytest.approx(20, abs=0.01)


def test_digits():
    pytest.importorskip("sklearn")
    train, test = data.digit_pairs()
    assert train.y.shape == (1437, 1, 8, 8)
    assert test.x.shape == (360, 1, 4, 4)
    assert torch.equal(train.y.flatten(1) * 16, data.digits_8x8()[0][0])
    assert torch.equal(test.x[:, 0, 1, 2], test.y[:, 0, 2:4, 4:6].mean((1, 2)))


GREY = torch.zeros(1, 100, 100)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: data.image_pairs(GREY, "sharpen"), "task: expected a known task, got 'sharpen'"),
        (lambda: data.image_pairs(GREY[0], "denoise"), r"expected a tensor \[C, H, W\] of floats"),
        (lambda: data.image_pairs(GREY.byte(), "denoise"), "got .* of torch.uint8; scale 8-bit"),
        (lambda: data.image_pairs(GREY[:, :30], "denoise"), "at least 96 x 48 pixels.*100 x 30"),
        (lambda: data.image_pairs(GREY + 2, "denoise"), r"in \[0, 1\], got 2 to 2; divide"),
        (lambda: data.image_pairs(GREY * float("nan"), "denoise"), r"in \[0, 1\], got nan"),
        (lambda: data.image_pairs(GREY, "denoise", count=0), "count: expected a whole number >= 1"),
        (lambda: data.image_pairs(GREY, "denoise", size=60), "size: expected at most 50"),
        (lambda: data.image_pairs(GREY, "denoise", seed=0.5), "seed: expected a whole number or"),
        (lambda: data.add_noise(GREY, -1), "add_noise: sigma: expected a number >= 0, got -1"),
        (lambda: data.gaussian_blur(GREY, 0), "gaussian_blur: sigma: expected a number > 0"),
        (lambda: data.gaussian_blur(GREY[:, :4], 2.0), "H and W >= 9"),
        (lambda: data.downsample(GREY, 3), "multiples of 3, got .100, 100.; crop the images"),
        (lambda: data.downsample(GREY.long()), "a tensor of floats, got torch.int64"),
        (lambda: data.downsample(GREY, 1.5), "factor: expected a whole number >= 1, got 1.5"),
    ],
)  # fmt: skip
def test_refused(call, text):
    with pytest.raises(ArgumentError, match=text):
        call()


def test_missing_scikit_image_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(ImportError, match=r"scikit-image.*pip install 'pyneural\[data\]'"):
        data.hubble_pairs("denoise")
