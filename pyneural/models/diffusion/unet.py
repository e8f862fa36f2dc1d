"""A small U-Net that takes noise from images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import nn
from pyneural.errors import check_argument, is_whole
from pyneural.models.diffusion.image_denoiser import ImageDenoiser

_GROUPS, _TOGETHER = 8, 4  # groups of channels at most, and channels of a group at least


class UNetDenoiser(ImageDenoiser):
    """f(x, t, c): residual blocks down to small images and up again, with attention at the bottom.

        x -> conv -> blocks, halve -> ... -> blocks, attention -> ... -> double, blocks -> conv

    A block going up sees what the block of the same size gave going down beside what comes from
    below. Convolutions and norms are torch's, attention and linear layers ours. The last
    convolution starts at zero: an untrained network says 0.

    Args:
        shape: of an image, (C, H, W); H and W can be halved ``len(factors) - 1`` times.
        width: channels of the first blocks.
        factors: channels of the blocks of each size as multiples of width, from the full size down.
        blocks: residual blocks of a size, going down and going up.
        attention: number of sizes, from the smallest up, whose blocks are followed by attention.
        heads: of the attention.
        dropout: probability that an element inside a block becomes 0 in training.
        condition: number of columns of a condition, such as classes; 0 for none.
        condition_channels: number of channels of an image that is the condition; 0 for none.

    Shape:
        x [N, C, H, W], t [N] and c [N, condition] or [N, condition_channels, H, W] to the shape
        of x. H and W may be others than those of ``shape``, which is that of samples.

    Raises:
        ArgumentError: counts that do not fit, sizes that cannot be halved so often.

    Source: Ho, Jain and Abbeel 2020, arXiv:2006.11239, appendix B; Ronneberger, Fischer and Brox
    2015; the time scales and shifts a norm as in Dhariwal and Nichol 2021, arXiv:2105.05233.

    >>> denoiser = UNetDenoiser((1, 8, 8), width=16, condition=10)
    >>> denoiser(torch.randn(5, 1, 8, 8), torch.rand(5), torch.eye(5, 10)).shape
    torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 32,
        factors: Sequence[int] = (1, 2),
        blocks: int = 1,
        *,
        attention: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
        condition: int = 0,
        condition_channels: int = 0,
    ) -> None:
        counts = {"width": width, "blocks": blocks, "heads": heads}
        for argument, value in [*counts.items(), *(("factors", one) for one in factors)]:
            good = is_whole(value) and value >= 1
            check_argument(good, f"UNetDenoiser: {argument}", "whole numbers >= 1", repr(value))
        check_argument(len(factors) > 0, "UNetDenoiser: factors", "one for each size", "none")
        good = is_whole(attention) and 0 <= attention <= len(factors)
        expected = f"a number of sizes from 0 to {len(factors)}"
        check_argument(good, "UNetDenoiser: attention", expected, repr(attention))
        halvings = len(factors) - 1
        self.divided = f"that can be halved {'once' if halvings == 1 else f'{halvings} times'}"
        super().__init__(
            shape, width, 4 * width, condition, condition_channels, divisor=2**halvings
        )
        self.width, self.factors, self.blocks = int(width), tuple(map(int, factors)), int(blocks)
        self.attention, self.heads, self.dropout = int(attention), int(heads), float(dropout)
        *widths, lowest = [self.width * factor for factor in self.factors]
        self.first = nn.Conv2d(self.channels, self.width, 3, padding=1)
        self.down, self.up, now = nn.ModuleList(), nn.ModuleList(), self.width
        for level, own in enumerate(widths):
            stages = [self._stage(now if i == 0 else own, own, level) for i in range(self.blocks)]
            self.down.append(nn.ModuleList([*stages, nn.Conv2d(own, own, 3, stride=2, padding=1)]))
            now = own
        self.bottom = nn.ModuleList(
            [self._stage(now if i == 0 else lowest, lowest, halvings) for i in range(self.blocks)]
        )
        self.bottom.append(nn.ModuleList([self._block(lowest, lowest)]))
        now = lowest
        for level, own in reversed(list(enumerate(widths))):
            stages = [self._stage(2 * own, own, level) for _ in range(self.blocks)]
            self.up.append(nn.ModuleList([nn.Conv2d(now, own, 3, padding=1), *stages]))
            now = own
        self.norm = _norm(now)
        self.last = nn.Conv2d(now, self.shape[0], 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def _block(self, inputs: int, outputs: int) -> ResidualBlock:
        return ResidualBlock(inputs, outputs, 4 * self.width, self.dropout)

    def _stage(self, inputs: int, outputs: int, level: int) -> torch.nn.ModuleList:
        """A residual block, and attention where images of this size have it."""
        stage: list[torch.nn.Module] = [self._block(inputs, outputs)]
        if level >= len(self.factors) - self.attention:
            stage.append(PixelAttention(outputs, self.heads))
        return nn.ModuleList(stage)

    def denoise(self, x: Tensor, e: Tensor) -> Tensor:
        """F [N, C, H, W] of images with those of the condition, and embeddings e [N, E]."""
        x, beside = self.first(x), []
        for *stages, halve in self.down:
            for stage in stages:
                x = _through(stage, x, e)
                beside.append(x)
            x = halve(x)
        for stage in self.bottom:
            x = _through(stage, x, e)
        for double, *stages in self.up:
            x = double(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
            for stage in stages:
                x = _through(stage, torch.cat([x, beside.pop()], 1), e)
        return self.last(nn.functional.silu(self.norm(x)))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("width", "factors", "blocks", "attention", "heads", "dropout")
        return self.conditions() | {name: getattr(self, name) for name in names}


class ResidualBlock(torch.nn.Module):
    """Two convolutions around a norm that the embedding e of the time scales and shifts.

        h = conv(silu(norm(x))),  y = W x + conv(silu((1 + a) norm(h) + b)),  a, b = V e + v

    >>> ResidualBlock(8, 16, 4)(torch.randn(5, 8, 6, 6), torch.randn(5, 4)).shape
    torch.Size([5, 16, 6, 6])
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(inputs), _norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.of_time: nn.Linear = nn.Linear(embedding, 2 * outputs)
        self.dropout = nn.Dropout(dropout)
        same = inputs == outputs
        self.beside = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """The block of x [N, inputs, H, W] and e [N, E]."""
        scale, shift = self.of_time(e)[:, :, None, None].chunk(2, 1)
        h = self.norm2(self.conv1(nn.functional.silu(self.norm1(x))))
        h = nn.functional.silu(torch.addcmul(shift, h, 1 + scale))
        return self.beside(x) + self.conv2(self.dropout(h))


class PixelAttention(torch.nn.Module):
    """Self-attention between the pixels of an image, x + attention(norm(x)).

    >>> PixelAttention(8, heads=2)(torch.randn(5, 8, 6, 6)).shape
    torch.Size([5, 8, 6, 6])
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.attention: nn.MultiheadAttention = nn.MultiheadAttention(
            channels, heads, batch_first=True
        )

    def forward(self, x: Tensor) -> Tensor:
        """The sum of x [N, C, H, W] and what its pixels take from each other."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        y, _ = self.attention(pixels, pixels, pixels, need_weights=False)
        return x + y.transpose(1, 2).unflatten(2, x.shape[2:])


def _norm(channels: int) -> torch.nn.GroupNorm:
    """The norm over groups of channels, as many as divide these."""
    most = max(1, min(_GROUPS, channels // _TOGETHER))
    return nn.GroupNorm(max(n for n in range(1, most + 1) if channels % n == 0), channels)


def _through(stage: Any, x: Tensor, e: Tensor) -> Tensor:
    block, *attention = stage
    x = block(x, e)
    for layer in attention:
        x = layer(x)
    return x
