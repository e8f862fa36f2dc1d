"""How close images are to those that they should be."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from pyneural.errors import ArgumentError

_TRUNCATED = 3.5  # standard deviations at which the window of SSIM ends
_K1, _K2 = 0.01, 0.03  # constants of the paper


def psnr(images: Tensor, target: Tensor, data_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio of each image.

        psnr = 10 log_10(R^2 / mean((x - y)^2))

    Args:
        images: x [..., H, W].
        target: y of the same shape.
        data_range: R, the highest value that a pixel may have less the lowest.

    Returns:
        [...] in dB, infinite for equal images; 20 dB are noise of a tenth of the range.

    Raises:
        ArgumentError: shapes that differ, integers, values that are not finite.

    >>> black = torch.zeros(2, 8, 8)
    >>> psnr(black + 0.1, black)
    tensor([20.0000, 20.0000])
    """
    _check("psnr", images, target, data_range, 1)
    error = (images.double() - target.double()).square().mean((-2, -1))
    return (10 * (data_range**2 / error).log10()).to(images.dtype)


def ssim(images: Tensor, target: Tensor, data_range: float = 1.0, *, sigma: float = 1.5) -> Tensor:
    """Structural similarity of each image, with a Gaussian window.

        ssim = mean of (2 m_x m_y + c_1) (2 s_xy + c_2)
                       / ((m_x^2 + m_y^2 + c_1) (s_x^2 + s_y^2 + c_2))
        c_1 = (0.01 R)^2,  c_2 = (0.03 R)^2

    with local means m and covariances s under the window, which ends at 3.5 sigma; the mean is over
    the pixels around which the window is inside the image. 1 for equal images, about 0 for
    unrelated ones, negative where light and dark are exchanged.

    Args:
        images: x [..., H, W], no smaller than the window: 11 x 11 for sigma = 1.5.
        target: y of the same shape.
        data_range: R, the highest value that a pixel may have less the lowest.
        sigma: standard deviation of the window in pixels.

    Returns:
        [...].

    Raises:
        ArgumentError: shapes that differ, images below the window, integers, values that are not
            finite.

    Source: Wang et al., IEEE Trans. Image Process. 13, 600 (2004).

    >>> images = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> ssim(images, images)
    tensor([1., 1., 1.])
    """
    if not sigma > 0:
        raise ArgumentError(f"ssim: sigma: expected a number > 0, got {sigma}; write 1.5")
    radius = int(_TRUNCATED * sigma + 0.5)
    _check("ssim", images, target, data_range, 2 * radius + 1)
    x, y = (part.double().flatten(0, -3)[:, None] for part in _as_batches(images, target))
    offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    window = torch.softmax(-0.5 * (offsets / sigma).square(), 0)

    def local_mean(image: Tensor) -> Tensor:
        return conv2d(conv2d(image, window[None, None, None]), window[None, None, :, None])

    m_x, m_y = local_mean(x), local_mean(y)
    s_xx = local_mean(x * x) - m_x * m_x
    s_yy = local_mean(y * y) - m_y * m_y
    s_xy = local_mean(x * y) - m_x * m_y
    c_1, c_2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    similar = (2 * m_x * m_y + c_1) * (2 * s_xy + c_2)
    similar /= (m_x.square() + m_y.square() + c_1) * (s_xx + s_yy + c_2)
    return similar.mean((1, 2, 3)).to(images.dtype).view(images.shape[:-2])


def _as_batches(*images: Tensor) -> list[Tensor]:
    return [image[None] if image.ndim == 2 else image for image in images]


def _check(where: str, images: Tensor, target: Tensor, data_range: float, least: int) -> None:
    if images.shape != target.shape:
        raise ArgumentError(
            f"{where}: images and target: expected the same shape, got {list(images.shape)} and "
            f"{list(target.shape)}; give a target for each image"
        )
    if images.ndim < 2 or images.numel() == 0 or min(images.shape[-2:]) < least:
        wide = f"[..., H, W] with H and W >= {least}"
        raise ArgumentError(
            f"{where}: images: expected {wide}, got {list(images.shape)}; give one image a channel"
            + (", or a smaller sigma" if least > 1 else "")
        )
    if not data_range > 0:
        raise ArgumentError(
            f"{where}: data_range: expected a number > 0, got {data_range}; write 1.0 for pixels "
            "from 0 to 1"
        )
    for name, values in (("images", images), ("target", target)):
        if not values.is_floating_point():
            kind = str(values.dtype).removeprefix("torch.")
            raise ArgumentError(
                f"{where}: {name}: expected floats, got {kind}; write {name}.float()"
            )
        if not bool(values.isfinite().all()):
            raise ArgumentError(
                f"{where}: {name}: expected finite pixels, got NaN or infinity; find out where "
                "they come from"
            )
