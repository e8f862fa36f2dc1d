"""What denoisers of images share: the shape of a sample, its time, conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from pyneural import nn
from pyneural.errors import check_argument, is_whole

_TIMES = 1000.0  # of t = 1, in the units of the slowest and fastest frequencies


class TimeEmbedding(torch.nn.Module):
    """A vector of E components for a time and the columns of a condition.

        e = silu(W_2 [silu(W_1 s + b_1), c] + b_2)
        s_2i = sin(1000 t / 10000^(2i/F)),  s_2i+1 = cos(1000 t / 10000^(2i/F))

    as the positions of Vaswani et al. 2017, section 3.5. Conditions of zeros are none.

    Args:
        frequencies: number F of sines and cosines, even.
        width: number E of components.
        condition: number of columns of the condition; 0 for none.

    >>> TimeEmbedding(8, 16, condition=3)(torch.rand(5), torch.eye(5, 3)).shape
    torch.Size([5, 16])
    """

    def __init__(self, frequencies: int, width: int, condition: int = 0) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.of_time: nn.Linear = nn.Linear(frequencies, width, activation="silu")
        self.of_both: nn.Linear = nn.Linear(width + condition, width, activation="silu")

    def forward(self, t: Tensor, c: Tensor | None = None) -> Tensor:
        """The vectors [N, E] of times [N] and conditions [N, C]."""
        even = torch.arange(0, self.frequencies, 2, dtype=torch.float64, device=t.device)
        rates = _TIMES * torch.exp(even * (-math.log(10_000) / self.frequencies))
        phase = t[:, None] * rates.to(t.dtype)
        h = self.of_time(torch.stack([phase.sin(), phase.cos()], -1).flatten(1))
        return self.of_both(h if c is None else torch.cat([h, c], 1))


class ImageDenoiser(torch.nn.Module):
    """Base of f(x, t, c) of images x [N, C, H, W], times t [N] in [0, 1], and conditions c.

    A condition is a row for each image, [N, condition], such as its class, or an image of the same
    height and width, [N, condition_channels, H, W], whose channels are put beside those of x. A
    subclass writes ``denoise``.

    Args:
        shape: of an image, (C, H, W); others may be as large as they like, but for ``divisor``.
        frequencies: as of ``TimeEmbedding``.
        width: likewise.
        condition: number of columns of the condition; 0 for none.
        condition_channels: number of channels of an image that is the condition; 0 for none.
        divisor: of H and W, and ``divided``, the reason of it.

    Raises:
        ArgumentError: counts that are no whole numbers, both kinds of conditions, or sizes that
            cannot be divided; at the call, shapes that do not match.
    """

    divided = "divisible"

    def __init__(
        self,
        shape: Sequence[int],
        frequencies: int,
        width: int,
        condition: int,
        condition_channels: int,
        divisor: int,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        good = len(shape) == 3 and all(is_whole(size) and size >= 1 for size in shape)
        remedy = "write (1, 8, 8) for grey images of 8 x 8 pixels"
        check_argument(good, f"{name}: shape", "(channels, height, width)", shape, remedy)
        given = {"condition": condition, "condition_channels": condition_channels}
        for argument, value in given.items():
            good = is_whole(value) and value >= 0
            check_argument(good, f"{name}: {argument}", "a whole number >= 0", repr(value))
        remedy = "repeat the columns over the pixels, as more channels of the image"
        good = not (condition and condition_channels)
        check_argument(good, f"{name}: condition", "columns or an image", "both", remedy)
        self.shape = tuple(int(size) for size in shape)
        self.condition, self.condition_channels = int(condition), int(condition_channels)
        self.divisor = divisor
        self.check_images(f"{name}: shape", torch.empty(1, *self.shape, device="meta"))
        self.embedding = TimeEmbedding(frequencies, width, self.condition)

    @property
    def channels(self) -> int:
        """Channels of an image and of its condition."""
        return self.shape[0] + self.condition_channels

    def check_images(self, where: str, x: Tensor) -> None:
        """ArgumentError where images are of another shape than this network takes."""
        channels, by = self.shape[0], self.divisor
        if x.dim() == 4 and x.shape[1] == channels and not (x.shape[2] % by or x.shape[3] % by):
            return
        expected = f"[N, {channels}, H, W]" + f" with H and W {self.divided}" * (by > 1)
        remedy = "add the dimension of the channels" if x.dim() == 3 else "pad or crop the images"
        check_argument(False, where, expected, list(x.shape), remedy)

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        """F of images x [N, C, H, W], times t, [N] or [], and conditions c; of the shape of x."""
        name = type(self).__name__
        self.check_images(f"{name}: x", x)
        columns, channels = self.condition, self.condition_channels
        expected: Any = [len(x), columns] if columns else None
        expected = [len(x), channels, *x.shape[2:]] if channels else expected
        got = None if c is None else list(c.shape)
        if got != expected:
            remedy = "give one for each image, as the network was made"
            check_argument(False, f"{name}: c", str(expected), got, remedy)
        if c is not None and channels:
            x, c = torch.cat([x, c], 1), None
        return self.denoise(x, self.embedding(t.expand(len(x)), c))

    def denoise(self, x: Tensor, e: Tensor) -> Tensor:
        """F [N, C, H, W] of images with those of the condition, and embeddings e [N, E]."""
        raise NotImplementedError(f"{type(self).__name__}: expected denoise, got none; write it")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The network of ``get_config``, with new weights."""
        return cls(**config)

    def conditions(self) -> dict[str, Any]:
        """The arguments that every denoiser of images has."""
        return {
            "shape": list(self.shape),
            "condition": self.condition,
            "condition_channels": self.condition_channels,
        }
