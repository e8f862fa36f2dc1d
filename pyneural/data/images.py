"""What the data sets of images share: their form, and the package that they come from."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import Tensor

# ((images, labels) to train on, (images, labels) to test with), as Keras gives them.
Images = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


def datasets(name: str) -> Any:
    """The module sklearn.datasets; ImportError with the remedy where it is missing."""
    try:
        return import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError(
            f"data.{name}: expected scikit-learn, got {error}; pip install 'pyneural[data]'"
        ) from error


def split(images: Tensor, labels: Tensor, train: int) -> Images:
    """The first ``train`` samples, and the others.

    >>> import torch
    >>> (x, _), (x_test, _) = split(torch.zeros(5, 2, 2), torch.zeros(5), 3)
    >>> x.shape, x_test.shape
    (torch.Size([3, 2, 2]), torch.Size([2, 2, 2]))
    """
    return (images[:train], labels[:train]), (images[train:], labels[train:])
