"""Samples of the true image, given a degraded one: a network and a diffusion of what it lacks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle
from typing_extensions import Self

from pyneural.errors import check_argument, is_whole
from pyneural.models.diffusion.ddpm import DDPM
from pyneural.models.images.image_to_image import ImageToImage
from pyneural.progress import progress
from pyneural.training import Batch, Model
from pyneural.training.data.adapter import DataAdapter
from pyneural.training.data.tensors import check_finite
from pyneural.training.evaluation import evaluation_mode
from pyneural.training.state import file as files


class ImageDiffusion(Model):
    """Conditional diffusion of the residual of an image-to-image network.

        y = g(x) + s S(r),   r ~ q(r | U(g(x)), U(B(x)))

    g is a trained ``ImageToImage``, which is left as it is, B its enlargement of x, and q a
    diffusion model of the residuals y - g(x), in units of their standard deviation s. U puts
    squares of 2 x 2 pixels on top of each other as channels, and S lays them out again.

    The prediction g(x) of a network trained with the squared error estimates the mean of the
    possible true images. It is the closest to the truth, and smoother than any of them. A sample of
    them looks like a true image and is further away: with a perfect sampler the mean square error
    of the mean of K samples is 1 + 1/K times that of the mean itself, 3 dB more for one sample
    (Blau and Michaeli 2018, arXiv:1711.06077, theorem 2).

    Args:
        network: g.
        diffusion: a ``DDPM`` whose denoiser has images of 4 C channels and a condition of 8 C, C
            being the channels of y, as ``UNetDenoiser((4 * C, 24, 24), condition_channels=8 * C)``.

    Raises:
        ArgumentError: another network, or a denoiser with other channels.

    Source: Whang et al. 2022, arXiv:2112.02475 (their network and diffusion are trained together).

    >>> from pyneural.models import DDPM, UNetDenoiser
    >>> network = ImageToImage(channels=1, scale=2, width=8, blocks=1)
    >>> denoiser = UNetDenoiser((4, 8, 8), width=8, attention=0, condition_channels=8)
    >>> model = ImageDiffusion(network, DDPM(denoiser, "cosine", "v"))
    >>> model.compile("adam")
    >>> history = model.fit(torch.rand(4, 1, 8, 8), torch.rand(4, 1, 16, 16), verbose=0)
    >>> model.sample(torch.rand(3, 1, 10, 7), steps=5).shape
    torch.Size([3, 1, 20, 14])
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, network: ImageToImage, diffusion: DDPM) -> None:
        super().__init__()
        good, got = isinstance(network, ImageToImage), type(network).__name__
        check_argument(good, "ImageDiffusion: network", "an ImageToImage", got, "make one")
        good, got = isinstance(diffusion, DDPM), type(diffusion).__name__
        check_argument(good, "ImageDiffusion: diffusion", "a DDPM", got, "make one")
        denoiser: Any = diffusion.denoiser
        channels = network.channels
        found = [getattr(denoiser, "shape", (None,))[0], getattr(denoiser, "condition_channels", 0)]
        good, expected = found == [4 * channels, 8 * channels], [4 * channels, 8 * channels]
        remedy = f"write UNetDenoiser(({4 * channels}, 24, 24), condition_channels={8 * channels})"
        check_argument(good, "ImageDiffusion: channels and condition_channels of the denoiser",
                       str(expected), found, remedy)  # fmt: skip
        self.network, self.diffusion = network, diffusion
        network.requires_grad_(False)
        self.divisor = 2 * int(getattr(denoiser, "divisor", 1))  # of the edges of y
        # The units in which the denoiser sees g(x) and B(x); those of r are the diffusion's.
        self.register_buffer("shift", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """The prediction g(x) [N, C, H, W] of x [N, C, h, w]."""
        return self.network(x)

    def sample(self, x: Any, *, steps: int | None = None, eta: float = 1.0) -> Tensor:
        """A sample y [N, C, H, W] for each x [N, C, h, w]; repeat x for several.

        Args:
            x: degraded images, of any size, a tensor or an array.
            steps: number of evenly spaced times; None for all.
            eta: share of the noise of a step: 1 is the ancestral sampler, 0 is DDIM.

        Raises:
            ValueError: images, steps or shares that do not fit.
        """
        x = DataAdapter("ImageDiffusion.sample", self, None, 1).inputs(x)
        with evaluation_mode(self):
            g, condition = self._seen(x)
            r = self.diffusion.sample(len(x), condition, steps=steps, eta=eta)
            return g + pixel_shuffle(r, 2)[..., : g.shape[2], : g.shape[3]]

    def mean(self, x: Any, samples: int, **options: Any) -> Tensor:
        """The mean of several samples of ``sample`` for each x."""
        good = is_whole(samples) and samples >= 1
        where, got = "ImageDiffusion.mean: samples", repr(samples)
        check_argument(good, where, "a whole number >= 1", got, "write 8")
        each = []
        for _ in progress("samples", range(samples)):
            each.append(self.sample(x, **options))
        return torch.stack(each).mean(0)

    def fit(self, x: Any, y: Any = None, *rest: Any, **options: Any) -> Any:
        """Trains the diffusion; arguments as of ``Model.fit``, x and y being tensors."""
        if not self.diffusion.scaled:
            self.set_scale(x, y)
        return super().fit(x, y, *rest, **options)

    @torch.no_grad()
    def set_scale(self, x: Tensor, y: Tensor) -> None:
        """Measures the units of images and of residuals; ``fit`` does it once.

        Raises:
            ArgumentError: no tensors of images, or a network that predicts all without an error.
        """
        where, like = "ImageDiffusion.set_scale", self.shift
        for name, value in (("x", x), ("y", y)):
            good, got = isinstance(value, Tensor) and value.is_floating_point(), type(value)
            check_argument(good, f"{where}: {name}", "a tensor of floats", got, "convert it")
            check_finite(f"{where}: {name}", value)
        self.network.check_inputs(f"{where}: x", x)
        self.network.check_targets(f"{where}: y", y, None)
        g = torch.cat([self.network(part.to(like)) for part in x.split(64)])
        good, remedy = g.shape == y.shape, "give the true images"
        check_argument(good, f"{where}: y", str(list(g.shape)), list(y.shape), remedy)
        error = float((y.to(like) - g).std())
        remedy = "give images that the network does not know"
        check_argument(error > 0, f"{where}: y", "a residual that varies", error, remedy)
        self.shift, self.scale = y.to(like).mean(), y.to(like).std()
        self.diffusion.scale.fill_(error)
        self.diffusion.scaled.fill_(True)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of the diffusion."""
        with torch.no_grad():
            g, condition = self._seen(batch.x)
            residual = self._folded(batch.y - g)
        return self.diffusion.losses(batch._replace(x=residual, y=condition))

    def quantities(self) -> list[str]:
        """The loss alone."""
        return ["loss"]

    def _seen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """G(x), and the condition [N, 8 C, H / 2, W / 2]."""
        g = self.network(x)
        both = torch.cat([g, self.network.upsample(x)], 1)
        return g, self._folded((both - self.shift) / self.scale)

    def _folded(self, images: Tensor) -> Tensor:
        """U of images, continued until the denoiser can halve them."""
        below, right = (-edge % self.divisor for edge in images.shape[2:])
        return pixel_unshuffle(pad(images, (0, right, 0, below), mode="replicate"), 2)

    def check_inputs(self, where: str, x: Tensor) -> None:
        """ArgumentError unless x are images [N, C, h, w]."""
        self.network.check_inputs(where, x)

    def check_targets(self, where: str, y: Tensor, columns: Any) -> None:
        """ArgumentError unless y can be images that the network makes."""
        self.network.check_targets(where, y, columns)

    def architecture(self) -> dict[str, Any] | None:
        """What ``load_model`` makes it from; None where the denoiser cannot be described."""
        try:
            return files.describe(self)
        except ValueError:
            return None

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, as ``load_model`` makes them."""
        return {name: files.describe(getattr(self, name)) for name in ("network", "diffusion")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The model of ``get_config``, with new weights."""
        return cls(**{name: files.rebuild(value) for name, value in config.items()})  # type: ignore
