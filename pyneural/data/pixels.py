"""Likelihoods of images whose pixels are whole numbers: dequantisation, bits per dimension."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, whole


def dequantise(x: Tensor, levels: int, seed: int | torch.Generator = 0) -> Tensor:
    """(x + u) / levels with u uniform in [0, 1): whole numbers as densities need them.

    A density q of the result is a lower bound of a probability of the pixels,
    log P(x) >= E_u[log q((x + u) / levels)] - D log(levels), which a continuous density of whole
    numbers is not: it could put infinite weight on them.

    Args:
        x: whole numbers 0 to levels - 1, of any shape and of floating or integer type.
        levels: their number, 17 for ``digits_8x8`` and 256 for 8-bit images.
        seed: of the random numbers, or the generator that they are taken from, on the device of x.

    Returns:
        The shape of x, in [0, 1); integers become the default floating type.

    Source: Theis, van den Oord and Bethge (2016), arXiv:1511.01844, section 3.1.

    >>> x = torch.tensor([0.0, 5.0, 16.0])
    >>> (dequantise(x, 17) * 17).floor().tolist()
    [0.0, 5.0, 16.0]
    """
    levels = whole("dequantise: levels", levels)
    if levels < 1:
        raise ArgumentError(f"dequantise: levels: expected >= 1, got {levels}; write 256")
    if not x.is_floating_point():
        x = x.to(torch.get_default_dtype())
    if not bool(((x >= 0) & (x < levels) & (x == x.floor())).all()):
        wrong = x[~((x >= 0) & (x < levels) & (x == x.floor()))][0].item()
        raise ArgumentError(
            f"dequantise: x: expected whole numbers 0 to {levels - 1}, got {wrong:g}; "
            "give the pixels themselves, not scaled ones, and the number of their levels"
        )
    if not isinstance(seed, torch.Generator):
        seed = torch.Generator(x.device).manual_seed(whole("dequantise: seed", seed))
    noise = torch.rand(x.shape, generator=seed, device=x.device, dtype=x.dtype)
    # 255.9999999 rounds to 256 in float32: below 1 by one unit in the last place, as u is.
    return ((x + noise) / levels).clamp(max=1 - torch.finfo(x.dtype).eps / 2)


def bits_per_dimension(log_density: Tensor, dimensions: int, levels: int) -> Tensor:
    """(log_2 levels) - log_2 q(x) / D: the code length of a pixel, from a dequantised density.

    The mean over dequantised images is an upper bound of the negative log-likelihood of the whole
    numbers, in bits per pixel. The uniform density on [0, 1)^D gives log_2(levels).

    Args:
        log_density: log q, in nats, of images in [0, 1) that ``dequantise`` made, of any shape. It
            is a density of these: where the model sees another transform of them, the
            log-determinant of that transform belongs to log q.
        dimensions: number D of pixels of an image.
        levels: number of values of a pixel.

    Returns:
        The shape of log_density.

    >>> bits_per_dimension(torch.zeros(2), dimensions=64, levels=17).tolist()
    [4.087, 4.087]
    """
    dimensions = whole("bits_per_dimension: dimensions", dimensions)
    levels = whole("bits_per_dimension: levels", levels)
    if dimensions < 1 or levels < 1:
        raise ArgumentError(
            "bits_per_dimension: dimensions and levels: expected >= 1, "
            f"got {dimensions} and {levels}; write 64 and 17 for digits_8x8"
        )
    return math.log2(levels) - log_density / (dimensions * math.log(2))
