"""How sharp images are."""

from __future__ import annotations

from torch import Tensor

from pyneural.errors import ArgumentError


def sharpness(images: Tensor) -> Tensor:
    """Variance of the Laplacian: small for blurred images, large for sharp ones.

        sharpness = mean(l^2) - mean(l)^2
        l_ij = x_(i-1,j) + x_(i+1,j) + x_(i,j-1) + x_(i,j+1) - 4 x_ij

    over the pixels that have four neighbours. It grows with the square of the contrast, and with
    noise: compare images of the same kind and range.

    Args:
        images: [..., H, W] with H and W >= 3.

    Returns:
        [...], one value for each image.

    Source: Pech-Pacheco et al., ICPR 3, 314 (2000); of samples of a VAE: Tolstikhin et al. (2018),
    arXiv:1711.01558.

    >>> import torch
    >>> image = (torch.arange(8) % 2).float().repeat(8, 1)  # stripes: l = 2 and -2
    >>> sharpness(image).item(), sharpness(torch.ones(5, 8, 8)).tolist()
    (4.0, [0.0, 0.0, 0.0, 0.0, 0.0])
    """
    if images.ndim < 2 or min(images.shape[-2:]) < 3 or not images.is_floating_point():
        got = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
        raise ArgumentError(
            f"sharpness: images: expected floats [..., H, W] with H and W >= 3, got {got}; "
            "give one image a channel, as floats"
        )
    inner = images[..., 1:-1, 1:-1]
    vertical = images[..., :-2, 1:-1] + images[..., 2:, 1:-1]
    horizontal = images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    return (vertical + horizontal - 4 * inner).flatten(-2).var(-1, correction=0)
