"""MNIST from OpenML, cached on disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pyneural.data.images import Images, datasets, split

TRAIN, COUNT, SIZE = 60_000, 70_000, 28


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
    return split(arrays["images"].float() / 255, arrays["labels"].long(), TRAIN)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        arrays = load_file(path)
        good = arrays["images"].shape == (COUNT, SIZE, SIZE) and arrays["labels"].shape == (COUNT,)
    except (SafetensorError, KeyError):
        good = False
    if not good:
        raise ValueError(
            f"data.mnist: cache: expected {COUNT:,} images of 28 x 28 and their labels in {path}, "
            "got a damaged file; delete it"
        )
    return arrays


def _download(path: Path) -> dict[str, Tensor]:
    try:
        fetched = datasets("mnist").fetch_openml(
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
