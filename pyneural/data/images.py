"""Common parts of the image data sets: their type, their source and their split."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import Tensor

# ((training images, labels), (test images, labels)), as in Keras.
Images = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


def datasets(name: str) -> Any:
    """The module sklearn.datasets; ImportError with the remedy if it is missing."""
    try:
        return import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError(
            f"data.{name}: expected scikit-learn, got {error}; pip install 'pyneural[data]'"
        ) from error


def split(images: Tensor, labels: Tensor, train: int) -> Images:
    """Splits into the first ``train`` samples and the rest.

    >>> import torch
    >>> (x, _), (x_test, _) = split(torch.zeros(5, 2, 2), torch.zeros(5), 3)
    >>> x.shape, x_test.shape
    (torch.Size([3, 2, 2]), torch.Size([2, 2, 2]))
    """
    return (images[:train], labels[:train]), (images[train:], labels[train:])
