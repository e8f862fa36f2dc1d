"""Variance of the Laplacian, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.metrics import sharpness


def test_equal_to_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    images = torch.rand(
        3, 2, 9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    exact = [
        [np.var(ndimage.laplace(image)[1:-1, 1:-1]) for image in row] for row in images.numpy()
    ]
    torch.testing.assert_close(sharpness(images), torch.tensor(exact), rtol=1e-12, atol=0)


def test_smoothing_lowers_it():
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(images, 3, 1)
    assert (sharpness(smooth) < 0.5 * sharpness(images)).all()


def test_slopes_have_none():
    slope = torch.arange(8.0)[:, None] + 2 * torch.arange(7.0)
    assert sharpness(slope) == 0


@pytest.mark.parametrize("images", [torch.rand(8), torch.rand(2, 8), torch.ones(8, 8).long()])
def test_bad_input_is_named(images):
    with pytest.raises(ArgumentError, match=r"sharpness: images: expected floats \[\.\.\., H, W\]"):
        sharpness(images)
