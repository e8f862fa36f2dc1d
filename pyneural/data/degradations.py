"""What spoils an image: noise, blur, fewer pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from pyneural.errors import check_argument, is_whole

_TRUNCATED = 4.0  # standard deviations at which a Gaussian ends


def add_noise(images: Tensor, sigma: float, seed: int | torch.Generator = 0) -> Tensor:
    """Adds normal noise, x + sigma eps, eps ~ N(0, 1); values may leave [0, 1].

    Each pixel of each channel has its own eps. Nothing is clipped, so that the noise has mean 0
    everywhere and a PSNR of 20 log_10(1 / sigma).

    Args:
        images: [..., H, W].
        sigma: standard deviation, in the units of the pixels, >= 0.
        seed: of the random numbers, or the generator that they are taken from.

    Raises:
        ArgumentError: a sigma below 0, or integers.

    >>> noisy = add_noise(torch.zeros(3, 64, 64), 0.1)
    >>> round(noisy.std().item(), 2)
    0.1
    """
    _check("add_noise", images, 1)
    good = math.isfinite(sigma) and sigma >= 0
    check_argument(good, "add_noise: sigma", "a number >= 0", sigma, "write 0.1")
    generator = generator_of("add_noise", seed, images.device)
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return images + sigma * noise


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """The convolution of images with a Gaussian, as of seeing or of a lens out of focus.

        k_ij ~ exp(-(i^2 + j^2) / (2 sigma^2)),  sum k = 1,  |i|, |j| <= 4 sigma

    The image is continued by reflection at its edges.

    Args:
        images: [..., H, W], larger than 4 sigma.
        sigma: standard deviation in pixels, > 0.

    Raises:
        ArgumentError: a sigma not above 0, images that are too small, or integers.

    >>> point = torch.zeros(15, 15)
    >>> point[7, 7] = 1
    >>> blurred = gaussian_blur(point, 1.5)
    >>> blurred.sum().item(), blurred[7, 7].item()
    (1.0000, 0.0708)
    """
    good = math.isfinite(sigma) and sigma > 0
    check_argument(good, "gaussian_blur: sigma", "a number > 0", sigma, "write 1.5")
    kernel = gaussian_kernel(sigma, images.dtype).to(images.device)
    radius = len(kernel) // 2
    _check("gaussian_blur", images, radius + 1)
    x = images.reshape(-1, 1, *images.shape[-2:])
    x = pad(x, (radius,) * 4, mode="reflect")
    x = conv2d(conv2d(x, kernel[None, None, None]), kernel[None, None, :, None])
    return x.reshape(images.shape)


def gaussian_kernel(sigma: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weights of ``gaussian_blur`` along one axis, [2 radius + 1], whose sum is 1.

    >>> len(gaussian_kernel(1.5))
    13
    """
    radius = math.ceil(_TRUNCATED * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    return torch.softmax(-0.5 * (offsets / sigma).square(), 0).to(dtype)


def downsample(images: Tensor, factor: int = 2) -> Tensor:
    """Means of squares of pixels: what a detector with larger pixels sees.

    Args:
        images: [..., H, W], H and W multiples of the factor.
        factor: pixels along an edge of a square.

    Returns:
        [..., H / factor, W / factor].

    Raises:
        ArgumentError: sizes that cannot be divided, or integers.

    >>> downsample(torch.arange(16.0).view(4, 4))
    tensor([[ 2.5000,  4.5000],
            [10.5000, 12.5000]])
    """
    good = is_whole(factor) and factor >= 1
    check_argument(good, "downsample: factor", "a whole number >= 1", repr(factor), "write 2")
    _check("downsample", images, 1)
    height, width = images.shape[-2:]
    check_argument(
        height % factor == width % factor == 0, "downsample: images",
        f"height and width that are multiples of {factor}", [height, width], "crop the images",
    )  # fmt: skip
    small = avg_pool2d(images.reshape(-1, 1, height, width), int(factor))
    return small.reshape(*images.shape[:-2], *small.shape[-2:])


def generator_of(
    where: str, seed: int | torch.Generator, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The generator itself, or a new one with the seed."""
    if isinstance(seed, torch.Generator):
        return seed
    expected = "a whole number or a torch.Generator"
    check_argument(is_whole(seed), f"{where}: seed", expected, repr(seed), "write 0")
    return torch.Generator(device).manual_seed(int(seed))


def _check(where: str, images: Tensor, least: int) -> None:
    good = isinstance(images, Tensor) and images.is_floating_point()
    got = images.dtype if isinstance(images, Tensor) else type(images).__name__
    remedy = "write images.float() / 255 for 8-bit images"
    check_argument(good, f"{where}: images", "a tensor of floats", got, remedy)
    good = images.dim() >= 2 and min(images.shape[-2:]) >= least
    expected = f"[..., H, W] with H and W >= {least}"
    check_argument(good, f"{where}: images", expected, list(images.shape), "give larger images")
