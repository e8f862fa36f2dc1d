"""Degraded images beside the true ones: noise, blur and large pixels, for image to image."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.data.degradations import add_noise, downsample, gaussian_blur, generator_of
from pyneural.data.images import digits_8x8
from pyneural.errors import check_argument, is_whole

TASKS = ("denoise", "deblur", "super-resolution")
NOISE = 0.1  # standard deviation of the noise of "denoise"
BLUR, BLUR_NOISE = 1.5, 0.01  # of "deblur": that of the Gaussian, in pixels, and of the noise
FACTOR = 2  # of "super-resolution", along each edge
HELD_OUT = 96  # pixels of an edge of a held-out crop
_FEW = 48  # pixels of an edge, at least, of a picture that is cut in two halves


class ImagePairs(NamedTuple):
    """Degraded images x and the true ones y, of which x was made."""

    x: Tensor  # [N, C, h, w], h = H but for super-resolution
    y: Tensor  # [N, C, H, W]


def hubble_deep_field() -> Tensor:
    """The eXtreme Deep Field of the Hubble Space Telescope, in scikit-image, without download.

    Galaxies in the constellation Fornax, exposures of ten years put together. It is a picture for
    the eye: the brightness is stretched, no flux, and JPEG has left its marks.

    Returns:
        red, green and blue in [0, 1], float32 [3, 872, 1000].

    Raises:
        ImportError: scikit-image is missing.

    Source: NASA, ESA, G. Illingworth, D. Magee, P. Oesch, R. Bouwens and the HUDF09 team (2012);
    Illingworth et al. (2013), arXiv:1305.1931. In the public domain.

    >>> import pytest; _ = pytest.importorskip("skimage")
    >>> hubble_deep_field().shape
    torch.Size([3, 872, 1000])
    """
    try:
        skimage: Any = import_module("skimage.data")
    except ImportError as error:
        raise ImportError(
            f"data.hubble_deep_field: expected scikit-image, got {error}; "
            "pip install 'pyneural[data]'"
        ) from error
    return torch.from_numpy(skimage.hubble_deep_field()).permute(2, 0, 1).float() / 255


def hubble_pairs(
    task: str, count: int = 2000, size: int = 48, seed: int = 0
) -> tuple[ImagePairs, ImagePairs]:
    """Crops of the Hubble deep field, degraded: the left half to train with, the right to test.

    See ``image_pairs`` for the tasks and the arguments.

    Returns:
        pairs for training, [count, 3, size, size], and 45 held-out ones, [45, 3, 96, 96]; for
        "super-resolution" x has half as many pixels along each edge.

    Raises:
        ImportError: scikit-image is missing.
        ArgumentError: an unknown task, or counts and sizes that do not fit.

    >>> import pytest; _ = pytest.importorskip("skimage")
    >>> (x, y), (x_test, y_test) = hubble_pairs("super-resolution", count=10)
    >>> x.shape, y.shape, x_test.shape
    (torch.Size([10, 3, 24, 24]), torch.Size([10, 3, 48, 48]), torch.Size([45, 3, 48, 48]))
    """
    return image_pairs(hubble_deep_field(), task, count, size, seed)


def image_pairs(
    image: Tensor, task: str, count: int = 2000, size: int = 48, seed: int = 0
) -> tuple[ImagePairs, ImagePairs]:
    """Crops of one large image, degraded: its left half to train with, its right half to test.

        denoise:           x = y + 0.1 eps
        deblur:            x = y * k + 0.01 eps,   k a Gaussian with a standard deviation of 1.5
        super-resolution:  x = means of 2 x 2 pixels of y

    with eps ~ N(0, 1), drawn for each crop, pixel and channel. Training crops are at random places,
    turned and mirrored at random. Held-out ones cover the right half without overlap, what is
    left over at its lower and right edge excepted; their noise has the seed 0. A blurred crop has
    in it what the blur brings from beyond its edges, but nothing of the other half.

    Args:
        image: [C, H, W] in [0, 1], of at least 96 x 48 pixels.
        task: one of ``TASKS``.
        count: number of training crops.
        size: their pixels along an edge, even for "super-resolution".
        seed: of places and noise of the training crops.

    Returns:
        pairs for training, [count, C, size, size], and held-out ones, [M, C, S, S] with S = 96, or
        less where the halves are smaller.

    Raises:
        ArgumentError: values beyond [0, 1], an image that is too small, an unknown task, or counts
            and sizes that do not fit.

    >>> train, test = image_pairs(torch.rand(1, 128, 256), "denoise", count=5, size=32)
    >>> train.x.shape, test.y.shape
    (torch.Size([5, 1, 32, 32]), torch.Size([1, 1, 96, 96]))
    """
    _check_image(image)
    for name, value in (("count", count), ("size", size)):
        good = is_whole(value) and value >= 1
        check_argument(good, f"image_pairs: {name}", "a whole number >= 1", repr(value))
    middle = image.shape[2] // 2
    left, right = image[:, :, :middle], image[:, :, middle:]
    good = size <= min(left.shape[1:])
    check_argument(good, "image_pairs: size", f"at most {min(left.shape[1:])}, the edge of a half",
                   size, "write 48")  # fmt: skip
    generator = generator_of("image_pairs", seed)
    train = _degraded(task, _random_crops(_before_noise(task, left), int(count), size, generator),
                      generator)  # fmt: skip
    held_out = min(HELD_OUT, *(edge - edge % FACTOR for edge in right.shape[1:]))
    test = _degraded(task, _all_crops(_before_noise(task, right), held_out), generator_of("", 0))
    return train, test


def degrade(images: Tensor, task: str, seed: int | torch.Generator = 0) -> Tensor:
    """Degraded x of true images [N, C, H, W], as in ``image_pairs``; a blur reflects at edges.

    >>> degrade(torch.rand(2, 3, 32, 32), "super-resolution").shape
    torch.Size([2, 3, 16, 16])
    """
    return _degraded(task, _before_noise(task, images), generator_of("degrade", seed)).x


def digit_pairs() -> tuple[ImagePairs, ImagePairs]:
    """Handwritten digits of 8 x 8 pixels, and means of their squares of 2 x 2 pixels.

    The native images of scikit-learn, never enlarged ones, whose pixels one can know from half as
    many. For super-resolution by a factor of two.

    Returns:
        x in [0, 1], [1437, 1, 4, 4], and y, [1437, 1, 8, 8]; and 360 held-out pairs, those of
        ``digits``.

    Raises:
        ImportError: scikit-learn is missing.

    >>> import pytest; _ = pytest.importorskip("sklearn")
    >>> train, test = digit_pairs()
    >>> train.x.shape, test.y.shape
    (torch.Size([1437, 1, 4, 4]), torch.Size([360, 1, 8, 8]))
    """
    true = [x.view(-1, 1, 8, 8) / 16 for x, _ in digits_8x8()]
    train, test = (ImagePairs(downsample(y, FACTOR), y) for y in true)
    return train, test


def _before_noise(task: str, true: Tensor) -> Tensor:
    """The true image and what the optics make of it, [..., 2 C, H, W]."""
    good, remedy = task in TASKS, f"write one of {', '.join(map(repr, TASKS))}"
    check_argument(good, "image_pairs: task", "a known task", repr(task), remedy)
    seen = gaussian_blur(true, BLUR) if task == "deblur" else true
    return torch.cat([true, seen], -3)


def _degraded(task: str, both: Tensor, generator: torch.Generator) -> ImagePairs:
    """The pairs of true images and what the optics make of them, [N, 2 C, H, W]."""
    y, seen = (part.contiguous() for part in both.chunk(2, 1))
    if task == "super-resolution":
        return ImagePairs(downsample(seen, FACTOR), y)
    return ImagePairs(add_noise(seen, NOISE if task == "denoise" else BLUR_NOISE, generator), y)


def _random_crops(image: Tensor, count: int, size: int, generator: torch.Generator) -> Tensor:
    """Crops [count, C, size, size] of an image [C, H, W], turned and mirrored."""
    options: dict[str, Any] = {"generator": generator}
    rows, columns = (
        torch.randint(edge - size + 1, (count,), **options).tolist() for edge in image.shape[1:]
    )
    turns = torch.randint(4, (count,), **options).tolist()
    mirrored = torch.randint(2, (count,), **options).tolist()
    crops = image.new_empty(count, len(image), size, size)
    for crop, i, j, turn, mirror in zip(crops, rows, columns, turns, mirrored, strict=True):
        turned = image[:, i : i + size, j : j + size].rot90(turn, (1, 2))
        crop.copy_(turned.flip(2) if mirror else turned)
    return crops


def _all_crops(image: Tensor, size: int) -> Tensor:
    """Crops [N, C, size, size] of an image [C, H, W] that do not overlap, row by row."""
    rows = image.unfold(1, size, size).unfold(2, size, size)  # [C, R, K, size, size]
    return rows.flatten(1, 2).transpose(0, 1)


def _check_image(image: Tensor) -> None:
    where = "image_pairs: image"
    good = isinstance(image, Tensor) and image.is_floating_point() and image.dim() == 3
    got = f"{list(image.shape)} of {image.dtype}" if isinstance(image, Tensor) else type(image)
    check_argument(good, where, "a tensor [C, H, W] of floats", got, "scale 8-bit values: x / 255")
    good = image.shape[1] >= _FEW and image.shape[2] >= 2 * _FEW
    expected = f"at least {2 * _FEW} x {_FEW} pixels, to be cut in two halves"
    got = f"{image.shape[2]} x {image.shape[1]}"
    check_argument(good, where, expected, got, "give a larger image")
    least, most = (float(value) for value in image.aminmax())
    good = least >= 0 and most <= 1  # NaN is neither
    check_argument(good, where, "values in [0, 1]", f"{least:g} to {most:g}",
                   "divide by the largest")  # fmt: skip
