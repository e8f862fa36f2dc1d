"""Wiener filters of scikit-image and scipy, as a measure of what images are without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from pyneural.data.degradations import gaussian_kernel
from pyneural.data.paired_images import BLUR, NOISE
from pyneural.metrics import psnr

Filter = Callable[[Tensor], Tensor]  # of images [N, C, H, W]
_MARGIN = 24  # pixels by which an image is continued, as a Fourier transform is periodic


def tuned(task: str, x: Tensor, y: Tensor) -> tuple[str, Filter]:
    """The best filter for a task, by its parameters on pairs for training, and what they are.

    "denoise" takes the local means and variances of ``scipy.signal.wiener`` (Lee 1980); its noise
    may be taken larger than it is. "deblur" divides by the known blur with the regularised filter
    of ``skimage.restoration.wiener``, and "super-resolution", where x are images enlarged by
    bicubic interpolation, by a Gaussian.
    """
    if task == "denoise":
        made: Iterable[tuple[str, Filter]] = (
            (f"window of {window} x {window}", _local(window, factor))
            for window in (3, 5, 7)
            for factor in (1.0, 1.5, 2.0)
        )
    else:
        sigmas = (BLUR,) if task == "deblur" else (0.5, 0.6, 0.7)
        made = (
            (f"sigma {sigma:g}, balance {balance:g}", _deconvolution(sigma, balance))
            for sigma in sigmas
            for balance in (0.001, 0.003, 0.01, 0.03)
        )
    return max(made, key=lambda one: float(psnr(one[1](x).flatten(1, 2), y.flatten(1, 2)).mean()))


def _local(window: int, factor: float) -> Filter:
    from scipy.signal import wiener

    return _of_channels(lambda image: wiener(image, window, factor * NOISE**2))


def _deconvolution(sigma: float, balance: float) -> Filter:
    from skimage.restoration import wiener

    kernel = gaussian_kernel(sigma, torch.float64).numpy()
    blur = np.outer(kernel, kernel)
    one = _of_channels(lambda image: wiener(image, blur, balance, clip=False))

    def apply(x: Tensor) -> Tensor:
        margin = min(_MARGIN, *(edge - 1 for edge in x.shape[2:]))
        wide = one(pad(x, (margin,) * 4, mode="reflect"))
        return wide[..., margin:-margin, margin:-margin]

    return apply


def _of_channels(filtered: Callable[[Any], Any]) -> Filter:
    """A filter of arrays [H, W] for images [N, C, H, W], whose results are put within [0, 1]."""

    def apply(x: Tensor) -> Tensor:
        images = [filtered(image) for image in x.flatten(0, 1).double().numpy()]
        return torch.from_numpy(np.stack(images)).to(x.dtype).clamp(0, 1).view_as(x)

    return apply
