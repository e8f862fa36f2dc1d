"""Generator and discriminator of images: convolutions with steps of two pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from pyneural import nn
from pyneural.errors import is_whole
from pyneural.models.adversarial.vectors import check_counts
from pyneural.training.checks import check

_HALVINGS = 2  # of the edges of an image, by convolutions


class ImageGenerator(torch.nn.Module):
    """G(z, c): images in [0, 1] from noise.

        z -> [2W, H/4, B/4] -> [W, H/2, B/2] -> [channels, H, B]

    by a fully connected layer and two transposed convolutions of 4 x 4 pixels, as in DCGAN
    (Radford, Metz and Chintala 2015, arXiv:1511.06434). It has no batch normalisation, whose
    statistics would not be those of averaged weights.

    Args:
        latent: components of the noise z, which is normal.
        shape: (channels, height, width) of an image, height and width multiples of 4.
        width: channels W of the last hidden layer.
        condition: number C of columns of the condition; 0 for none.

    Raises:
        ValueError: counts that are no whole numbers, or a shape that cannot be halved twice.

    >>> ImageGenerator(16, (1, 8, 8))(torch.randn(5, 16)).shape
    torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int] = (1, 28, 28),
        width: int = 32,
        condition: int = 0,
    ) -> None:
        super().__init__()
        check_counts(type(self), latent=(latent, 1), width=(width, 1), condition=(condition, 0))
        self.shape = checked_shape(type(self), shape)
        self.latent, self.width, self.condition = int(latent), int(width), int(condition)
        channels, height, breadth = self.shape
        scale = 2**_HALVINGS
        self.first = 2 * self.width, height // scale, breadth // scale
        inputs, units = self.latent + self.condition, self.first[0] * self.first[1] * self.first[2]
        self.dense = nn.Linear(inputs, units, activation="relu")
        self.wider = torch.nn.ConvTranspose2d(2 * self.width, self.width, 4, 2, 1)
        self.last = torch.nn.ConvTranspose2d(self.width, channels, 4, 2, 1)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Images [N, channels, H, B] of noise z [N, latent] and conditions c [N, C]."""
        h = self.dense(z if c is None else torch.cat([z, c], 1)).unflatten(1, self.first)
        return torch.sigmoid(self.last(F.relu(self.wider(h))))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        own = {"latent": self.latent, "shape": list(self.shape), "width": self.width}
        return own | {"condition": self.condition}


class ImageDiscriminator(torch.nn.Module):
    """The logit of D(x, c) of images.

        [channels, H, B] -> [W, H/2, B/2] -> [2W, H/4, B/4] -> [1]

    by two convolutions of 4 x 4 pixels with leaky ReLU and a fully connected layer, which has a
    logit for each class where there are conditions: the logit is then that of the class, or the sum
    weighted by the columns of the condition (Mescheder, Geiger and Nowozin 2018, arXiv:1801.04406).

    Args:
        shape: (channels, height, width) of an image, height and width multiples of 4.
        width: channels W of the first hidden layer.
        condition: number C of columns of the condition; 0 for none.
        spectral_norm: whether each weight is divided by its largest singular value (Miyato et al.
            2018, arXiv:1802.05957).

    Raises:
        ValueError: counts that are no whole numbers, or a shape that cannot be halved twice.

    >>> ImageDiscriminator((1, 8, 8))(torch.rand(5, 1, 8, 8)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        shape: Sequence[int] = (1, 28, 28),
        width: int = 32,
        condition: int = 0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        check_counts(type(self), width=(width, 1), condition=(condition, 0))
        self.shape = checked_shape(type(self), shape)
        self.width, self.condition = int(width), int(condition)
        channels, height, breadth = self.shape
        self.narrower = torch.nn.Conv2d(channels, self.width, 4, 2, 1)
        self.deeper = torch.nn.Conv2d(self.width, 2 * self.width, 4, 2, 1)
        features = 2 * self.width * (height // 2**_HALVINGS) * (breadth // 2**_HALVINGS)
        self.dense = nn.Linear(features, max(1, self.condition))
        self.spectral_norm = bool(spectral_norm)
        if self.spectral_norm:
            for layer in (self.narrower, self.deeper, self.dense):
                parametrizations.spectral_norm(layer)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Logits [N, 1] of images [N, channels, H, B] and conditions [N, C]."""
        h = F.leaky_relu(self.narrower(x), 0.2)
        logits = self.dense(F.leaky_relu(self.deeper(h), 0.2).flatten(1))
        return logits if c is None else (logits * c).sum(1, keepdim=True)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        own = {"shape": list(self.shape), "width": self.width, "condition": self.condition}
        return own | {"spectral_norm": self.spectral_norm}


def checked_shape(kind: type, shape: Sequence[int]) -> tuple[int, int, int]:
    """(channels, height, width); ValueError unless its edges can be halved twice."""
    good = len(shape) == 3 and all(is_whole(size) and size >= 1 for size in shape)
    good = good and not any(size % 2**_HALVINGS for size in shape[1:])
    expected, remedy = "(channels, height, width), the last two multiples of 4", "pad the images"
    check(good, f"{kind.__name__}: shape", expected, shape, remedy)
    channels, height, width = map(int, shape)
    return channels, height, width
