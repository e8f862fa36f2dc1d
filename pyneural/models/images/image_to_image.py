"""A convolutional network that turns degraded images into better ones, of any size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad, pixel_shuffle, pixel_unshuffle
from typing_extensions import Self

from pyneural import nn
from pyneural.errors import check_argument, is_whole
from pyneural.training import Model
from pyneural.training.state import file as files


class ImageToImage(Model):
    """A residual network that predicts what a degraded image lacks.

        y = B(x) + S(V * h_L),   h_0 = W * U(x),   h_l = h_(l-1) + A_l * relu(C_l * h_(l-1))

    with convolutions * of 3 x 3 pixels, which are torch's. With ``scale`` s > 1, for
    super-resolution, B enlarges the image by bicubic interpolation, U does nothing, and S makes of
    s^2 channels the s x s pixels of each one of x (sub-pixel convolution, Shi et al. 2016,
    arXiv:1609.05158). With ``scale`` 1, against noise or blur, B does nothing, U puts squares of
    2 x 2 pixels on top of each other as channels, and S lays them out again: so each convolution
    sees twice as far for a quarter of the work (Zhang et al. 2018, arXiv:1710.04026). V starts at
    zero: an untrained network gives B(x).

    The network takes images of any size. Where no gradient is asked for, as in ``predict``, images
    beyond ``tile`` pixels along an edge go through it in parts, which overlap by as much as a pixel
    of the output depends on: the result is that of the whole image, and the memory that of a part.

    Args:
        channels: C of an image, 3 for colours.
        scale: factor by which y is larger than x along each edge.
        width: channels inside.
        blocks: number L of residual blocks.
        tile: pixels of x along an edge of a part.

    Shape:
        x [N, C, H, W] to y [N, C, s H, s W].

    Raises:
        ArgumentError: counts that are no whole numbers >= 1; at the call, other shapes.

    Source: Zhang et al. 2017 (residual learning), arXiv:1608.03981; Lim et al. 2017 (blocks without
    norms), arXiv:1707.02921.

    >>> model = ImageToImage(channels=3, scale=2)
    >>> model(torch.rand(2, 3, 24, 30)).shape
    torch.Size([2, 3, 48, 60])
    >>> model.compile("adam", "mae")
    >>> x, y = torch.rand(8, 3, 8, 8), torch.rand(8, 3, 16, 16)
    >>> history = model.fit(x, y, epochs=2, verbose=0)
    """

    def __init__(
        self, channels: int = 3, scale: int = 1, *, width: int = 32, blocks: int = 3,
        tile: int = 256,
    ) -> None:  # fmt: skip
        super().__init__()
        given = {"channels": channels, "scale": scale, "width": width, "blocks": blocks}
        for name, value in (given | {"tile": tile}).items():
            good = is_whole(value) and value >= 1
            check_argument(good, f"ImageToImage: {name}", "a whole number >= 1", repr(value))
        self.channels, self.scale, self.width = int(channels), int(scale), int(width)
        self.blocks, self.tile = int(blocks), int(tile)
        # Pixels along an edge of the squares that U puts on top of each other.
        self.folded = 2 if self.scale == 1 else 1
        self.first = nn.Conv2d(self.channels * self.folded**2, self.width, 3, padding=1)
        self.body = nn.Sequential(*(_Block(self.width) for _ in range(self.blocks)))
        outputs = self.channels * (self.scale * self.folded) ** 2
        self.last = nn.Conv2d(self.width, outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    @property
    def reach(self) -> int:
        """How many pixels of x, in each direction, a pixel of y depends on."""
        return max(2, (2 + 2 * self.blocks) * self.folded)  # bicubic interpolation: 2

    def forward(self, x: Tensor) -> Tensor:
        """The better images y [N, C, s H, s W] of x [N, C, H, W]."""
        self.check_inputs("ImageToImage: x", x)
        if torch.is_grad_enabled() or max(x.shape[2:]) <= self.tile:
            return self._whole(x)
        y = x.new_empty(*x.shape[:2], *(self.scale * edge for edge in x.shape[2:]))
        for top, bottom, first, last in self._parts(x.shape[2]):
            for left, right, begin, end in self._parts(x.shape[3]):
                part = self._whole(x[:, :, top:bottom, left:right])
                inner = part[:, :, self._scaled(first - top, last - top)]
                kept = inner[..., self._scaled(begin - left, end - left)]
                y[:, :, self._scaled(first, last), self._scaled(begin, end)] = kept
        return y

    def _whole(self, x: Tensor) -> Tensor:
        """Y of x in one piece."""
        base = self.upsample(x)
        height, width = base.shape[2:]
        if self.folded > 1:
            x = pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate")
        h = self.first(
            pixel_unshuffle(x, self.folded).contiguous(memory_format=torch.channels_last)
        )
        found = pixel_shuffle(self.last(self.body(h)), self.scale * self.folded)
        return base + found[:, :, :height, :width]

    def upsample(self, x: Tensor) -> Tensor:
        """B(x): what an untrained network gives."""
        if self.scale == 1:
            return x
        return interpolate(x, scale_factor=float(self.scale), mode="bicubic")

    def _parts(self, edge: int) -> Iterator[tuple[int, int, int, int]]:
        """Where parts of an edge begin and end: what is seen, and what is kept of it."""
        step = self.tile + self.tile % self.folded  # so that the squares of U stay the same
        for begin in range(0, edge, step):
            end = min(begin + step, edge)
            yield max(0, begin - self.reach), min(edge, end + self.reach), begin, end

    def _scaled(self, begin: int, end: int) -> slice:
        return slice(self.scale * begin, self.scale * end)

    def check_inputs(self, where: str, x: Tensor) -> None:
        """ArgumentError unless x are images [N, C, H, W]."""
        good = x.dim() == 4 and x.shape[1] == self.channels and min(x.shape[2:]) > 0
        remedy = "add the missing dimension" if x.dim() == 3 else "channels stand before the pixels"
        check_argument(good, where, f"[N, {self.channels}, H, W]", list(x.shape), remedy)

    def check_targets(self, where: str, y: Tensor, _: Any) -> None:
        """ArgumentError unless y can be images that the network makes, [N, C, s H, s W]."""
        s, good = self.scale, y.dim() == 4 and y.shape[1] == self.channels
        good = good and y.shape[2] % s == y.shape[3] % s == 0
        expected = f"[N, {self.channels}, H, W]" + f" with H and W multiples of {s}" * (s > 1)
        remedy = "give the true images, which the network is to make"
        check_argument(good, where, expected, list(y.shape), remedy)

    def architecture(self) -> dict[str, Any]:
        """What ``load_model`` makes it from."""
        return files.describe(self)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("channels", "scale", "width", "blocks", "tile")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The model of ``get_config``, with new weights."""
        return cls(**config)


class _Block(torch.nn.Module):
    """h + A * relu(C * h)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.conv2(torch.relu(self.conv1(h)))
