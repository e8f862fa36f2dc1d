"""Stars and galaxies in a picture, found by their brightness and cut out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from pyneural.data.degradations import gaussian_blur
from pyneural.data.paired_images import hubble_deep_field
from pyneural.errors import check_argument, is_whole

_SEEING = 1.5  # pixels, of the Gaussian before maxima are looked for
_APART = 7  # pixels of the edge of a square with at most one source
_APERTURE = 9  # pixels of the edge of the square that a flux is summed over
_NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


class Sources(NamedTuple):
    """What ``find_sources`` found.

    Attributes:
        images: cut-outs with a source in the middle, [N, C, size, size].
        flux: of each, [N], in the units of the pixels.
        places: row and column of each in the image, int64 [N, 2].
    """

    images: Tensor
    flux: Tensor
    places: Tensor


class SourceGroups(NamedTuple):
    """Cut-outs [N, C, size, size], and whether each shows a bright source, 0, or a faint one, 1."""

    images: Tensor
    group: Tensor


def find_sources(image: Tensor, size: int = 16, threshold: float = 5.0) -> Sources:
    """Cuts out what is brighter than the sky and its surroundings.

        s = mean over colours * Gaussian of 1.5 pixels,   flux = sum of (mean over colours - sky)

    A source is a pixel where s has its maximum over 7 x 7 pixels and is ``threshold`` standard
    deviations above the sky. The sky is the median of s, its standard deviation the median absolute
    deviation times 1.48; the flux is that in 9 x 9 pixels. Sources whose cut-out would leave the
    image are left out.

    Args:
        image: [C, H, W].
        size: pixels of the edge of a cut-out, an even number; the source is in row and column
            size / 2.
        threshold: in standard deviations, > 0.

    Raises:
        ArgumentError: another shape, integers, a size that is odd or larger than the image.

    >>> sky = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> sky[0, 30:33, 40:43] += 20
    >>> images, flux, places = find_sources(sky, size=8)
    >>> images.shape, places.tolist()
    (torch.Size([1, 1, 8, 8]), [[31, 41]])
    """
    good = isinstance(image, Tensor) and image.is_floating_point() and image.dim() == 3
    got = f"{list(image.shape)} of {image.dtype}" if isinstance(image, Tensor) else type(image)
    check_argument(good, "find_sources: image", "a tensor [C, H, W] of floats", got)
    least = min(image.shape[1:])
    good = is_whole(size) and size % 2 == 0 and 2 <= size <= least
    check_argument(good, "find_sources: size", f"an even number from 2 to {least}", repr(size))
    check_argument(threshold > 0, "find_sources: threshold", "a number > 0", threshold, "write 5")
    grey = image.mean(0)
    smooth = gaussian_blur(grey, _SEEING)
    sky = smooth.median()
    noise = _NORMAL * (smooth - sky).abs().median()
    highest = max_pool2d(smooth[None], _APART, 1, _APART // 2)[0]
    found = (smooth == highest) & (smooth > sky + threshold * noise)
    half = size // 2
    inside = torch.zeros_like(found)
    inside[half : len(grey) - half + 1, half : grey.shape[1] - half + 1] = True
    rows, columns = (found & inside).nonzero(as_tuple=True)
    means = avg_pool2d(
        (grey - sky)[None], _APERTURE, 1, _APERTURE // 2, count_include_pad=False
    )[0]  # fmt: skip
    windows = image.unfold(1, size, 1).unfold(2, size, 1)  # [C, H', W', size, size]
    images = windows[:, rows - half, columns - half].transpose(0, 1).contiguous()
    places = torch.stack([rows, columns], 1)
    return Sources(images, _APERTURE**2 * means[rows, columns], places)


def hubble_sources(size: int = 16) -> tuple[SourceGroups, SourceGroups]:
    """Bright and faint sources of the Hubble deep field, as two groups to train with.

    Those of the left half to train with, those of the right half to test. Bright ones have more
    flux than two thirds of the sources of the left half, faint ones less than two thirds; those in
    between are left out, and so are faint ones so close to a bright one that it reaches into
    their picture. The flux is that of the picture, whose brightness is stretched for the eye.

    Args:
        size: pixels of the edge of a cut-out.

    Returns:
        cut-outs with values in [0, 1], and 0 for a bright source, 1 for a faint one.

    Raises:
        ImportError: scikit-image is missing.

    >>> import pytest; _ = pytest.importorskip("skimage")
    >>> train, test = hubble_sources()
    >>> train.images.shape[1:], train.group.bincount().min() > 200
    (torch.Size([3, 16, 16]), tensor(True))
    """
    image = hubble_deep_field()
    middle = image.shape[2] // 2
    halves = [find_sources(half, size) for half in (image[..., :middle], image[..., middle:])]
    low, high = (halves[0].flux.quantile(share) for share in (1 / 3, 2 / 3))
    train, test = (_grouped(sources, float(low), float(high)) for sources in halves)
    return train, test


def _grouped(sources: Sources, low: float, high: float) -> SourceGroups:
    images, flux, places = sources
    bright, faint = flux > high, flux < low
    apart = (places[:, None] - places[bright]).abs().amax(2)  # [N, bright]
    faint &= (apart > images.shape[-1] // 2).all(1)
    kept = bright | faint
    return SourceGroups(images[kept], faint[kept].long())
