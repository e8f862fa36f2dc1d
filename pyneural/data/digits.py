"""Handwritten digits from scikit-learn, without download."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

from pyneural.data.images import Images, datasets, split

TRAIN = 1437  # four fifths
SIZE = 28  # as in MNIST


def digits() -> Images:
    """1,797 handwritten digits, without download.

    The 8 x 8 images of scikit-learn (Alpaydin and Kaynak 1998, the test set of "Optical Recognition
    of Handwritten Digits"), enlarged to 28 x 28, the size of MNIST, by bicubic interpolation. The
    split is fixed: the last fifth, in the original order, is the test set.

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
    source = datasets("digits").load_digits()
    small = torch.from_numpy(source.images).float().unsqueeze(1) / 16  # [1797, 1, 8, 8]
    images = interpolate(small, (SIZE, SIZE), mode="bicubic").squeeze(1).clamp(0, 1)
    return split(images, torch.from_numpy(source.target).long(), TRAIN)
