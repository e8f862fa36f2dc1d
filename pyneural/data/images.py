"""Images of handwritten digits: those of scikit-learn, without download, and MNIST."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import interpolate

# ((training images, labels), (test images, labels)), as in Keras.
Images = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
SIZE = 28  # pixels of an edge
_COUNT = 70_000  # images of MNIST


def digits() -> Images:
    """1,797 handwritten digits, without download.

    The 8 x 8 images of scikit-learn (Alpaydin and Kaynak 1998, the test set of "Optical Recognition
    of Handwritten Digits"), enlarged to 28 x 28, the size of MNIST, by bicubic interpolation. The
    split is fixed: the last fifth, in the original order, is the test set.

    The 784 pixels of an image are functions of 64 numbers, so that a density over them does not
    exist and bits per dimension mean nothing: for likelihoods there is ``digits_8x8``.

    Returns:
        ((x_train, y_train), (x_test, y_test)): images in [0, 1], float32 [1437, 28, 28] and
        [360, 28, 28], and labels 0 to 9, int64.

    Raises:
        ImportError: scikit-learn is missing.

    Example:
        >>> import pytest; _ = pytest.importorskip("sklearn")
        >>> (x_train, y_train), (x_test, y_test) = digits()
        >>> x_train.shape, x_test.shape
        (torch.Size([1437, 28, 28]), torch.Size([360, 28, 28]))
    """
    small, labels = _native_digits("digits")
    images = interpolate(small.unsqueeze(1) / 16, (SIZE, SIZE), mode="bicubic")
    return _split(images.squeeze(1).clamp(0, 1), labels, 1437)


def digits_8x8() -> Images:
    """1,797 handwritten digits of 8 x 8 pixels, whole numbers 0 to 16, for likelihoods.

    The images of ``digits`` before they are enlarged, with the same split. See ``dequantise`` and
    ``bits_per_dimension``.

    Returns:
        ((x_train, y_train), (x_test, y_test)): pixels 0 to 16, float32 [1437, 64] and [360, 64],
        and labels 0 to 9, int64.

    Raises:
        ImportError: scikit-learn is missing.

    Example:
        >>> import pytest; _ = pytest.importorskip("sklearn")
        >>> (x_train, y_train), (x_test, y_test) = digits_8x8()
        >>> x_train.shape, x_train.max().item()
        (torch.Size([1437, 64]), 16.0)
    """
    images, labels = _native_digits("digits_8x8")
    return _split(images.flatten(1), labels, 1437)


def mnist(cache: str | os.PathLike[str] | None = None) -> Images:
    """70,000 handwritten digits (LeCun, Cortes and Burges 1998); downloads from OpenML once.

    Args:
        cache: folder of mnist.safetensors (55 MB); None for the folder pyneural in
            $XDG_CACHE_HOME or ~/.cache.

    Returns:
        ((x_train, y_train), (x_test, y_test)): images in [0, 1], float32 [60000, 28, 28] and
        [10000, 28, 28], and labels 0 to 9, int64; the original split.

    Raises:
        ImportError: scikit-learn is missing and the cache is empty.
        ConnectionError: the cache is empty and OpenML cannot be reached.
        ValueError: the cache is damaged.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = mnist()  # doctest: +SKIP
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyneural"
    path = (base if cache is None else Path(cache)) / "mnist.safetensors"
    arrays = _read(path) if path.exists() else _download(path)
    return _split(arrays["images"].float() / 255, arrays["labels"], 60_000)


def _sklearn(name: str) -> Any:
    """The module sklearn.datasets; ImportError with the remedy if it is missing."""
    try:
        return import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError(
            f"data.{name}: expected scikit-learn, got {error}; pip install 'pyneural[data]'"
        ) from error


def _native_digits(name: str) -> tuple[Tensor, Tensor]:
    """Images [1797, 8, 8] of whole numbers 0 to 16, and labels."""
    source = _sklearn(name).load_digits()
    return torch.from_numpy(source.images).float(), torch.from_numpy(source.target)


def _split(images: Tensor, labels: Tensor, train: int) -> Images:
    labels = labels.long()
    return (images[:train], labels[:train]), (images[train:], labels[train:])


def _read(path: Path) -> dict[str, Tensor]:
    try:
        arrays = load_file(path)
        good = arrays["images"].shape == (_COUNT, SIZE, SIZE)
        good = good and arrays["labels"].shape == (_COUNT,)
    except (SafetensorError, KeyError):
        good = False
    if not good:
        raise ValueError(
            f"data.mnist: cache: expected {_COUNT:,} images of 28 x 28 and their labels in {path}, "
            "got a damaged file; delete it"
        )
    return arrays


def _download(path: Path) -> dict[str, Tensor]:
    try:
        fetched = _sklearn("mnist").fetch_openml(
            "mnist_784", version=1, as_frame=False, parser="liac-arff", data_home=path.parent
        )
    except OSError as error:  # urllib's errors are of this class
        raise ConnectionError(
            f"data.mnist: expected a copy at {path} or access to OpenML, got neither ({error}); "
            "connect to the internet once, or use data.digits(), which needs no download"
        ) from error
    arrays = {
        "images": torch.from_numpy(fetched.data.astype(np.uint8)).view(-1, SIZE, SIZE),
        "labels": torch.from_numpy(fetched.target.astype(np.uint8)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(arrays, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return arrays
