"""PSNR and SSIM against scikit-image."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.metrics import noise_floor, psnr, ssim


def pair(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(*shape, generator=generator, dtype=dtype).cumsum(-1) / 8  # smooth
    return target + 0.1 * torch.randn(target.shape, generator=generator, dtype=dtype), target


def of_each(function, images, target):
    rows = zip(images.flatten(0, -3).numpy(), target.flatten(0, -3).numpy(), strict=True)
    found = torch.tensor([function(x, y) for x, y in rows], dtype=images.dtype)
    return found.view(images.shape[:-2])


@pytest.mark.parametrize("data_range", [1.0, 16.0])
def test_psnr_equal_to_scikit_image(data_range):
    metrics = pytest.importorskip("skimage.metrics")
    images, target = pair(2, 3, 9, 14)

    def theirs(x, y):
        return metrics.peak_signal_noise_ratio(y, x, data_range=data_range)

    torch.testing.assert_close(psnr(images, target, data_range), of_each(theirs, images, target))


@pytest.mark.parametrize("sigma", [1.5, 0.8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ssim_equal_to_scikit_image(sigma, dtype):
    metrics = pytest.importorskip("skimage.metrics")
    images, target = pair(2, 3, 20, 27, dtype=dtype)

    def theirs(x, y):
        return metrics.structural_similarity(
            x, y, data_range=2.5, gaussian_weights=True, sigma=sigma, use_sample_covariance=False
        )

    found, expected = ssim(images, target, 2.5, sigma=sigma), of_each(theirs, images, target)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert found.min() < 0.9


def test_values_that_are_known():
    image = torch.rand(11, 11, generator=torch.Generator().manual_seed(0))
    assert psnr(image, image) == math.inf
    assert psnr(image + 0.01, image).item() == pytest.approx(40, abs=1e-3)
    assert ssim(image, image).item() == 1
    assert ssim(1 - image, image) < -0.5
    zeros = torch.zeros(11, 11)  # nothing but means: (2 a b + c_1) / (a^2 + b^2 + c_1)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(zeros + 0.2, zeros + 0.6).item() == pytest.approx(expected, rel=1e-6)


def test_two_halves_of_images_that_have_nothing_in_common():
    images = torch.rand(40, 16, 16, generator=torch.Generator().manual_seed(0))
    floor = noise_floor(lambda x, y: psnr(x, y).mean(), images)
    # The square of the difference of two uniform pixels has the mean 1 / 6.
    assert floor.mean == pytest.approx(10 * math.log10(6), abs=0.1)
    assert abs(noise_floor(lambda x, y: ssim(x, y).mean(), images).mean) < 0.05


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("images", "target", "options", "message"),
    [
        (torch.rand(2, 12, 12), torch.rand(12, 12), {}, "expected the same shape"),
        (torch.rand(12), torch.rand(12), {}, r"expected \[\.\.\., H, W\]"),
        (torch.rand(0, 12, 12), torch.rand(0, 12, 12), {}, r"got \[0, 12, 12\]"),
        (torch.ones(12, 12).int(), torch.rand(12, 12), {}, r"write images\.float\(\)"),
        (torch.rand(12, 12), torch.rand(12, 12) / 0, {}, "target: expected finite pixels"),
        (torch.rand(12, 12), torch.rand(12, 12), {"data_range": 0}, "data_range"),
    ],
)
def test_bad_input_is_named(metric, images, target, options, message):
    with pytest.raises(ArgumentError, match=rf"{metric.__name__}: .*{message}"):
        metric(images, target, **options)


def test_images_smaller_than_the_window():
    small = torch.rand(3, 8, 8)
    with pytest.raises(ArgumentError, match=r"H and W >= 11, got .* or a smaller sigma"):
        ssim(small, small)
    assert ssim(small, small, sigma=0.8).shape == (3,)
    with pytest.raises(ArgumentError, match="sigma: expected a number > 0, got 0"):
        ssim(small, small, sigma=0)
