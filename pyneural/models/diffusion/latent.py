"""Diffusion in the latent space of an autoencoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributions
from torch.utils.data import DataLoader
from typing_extensions import Self

from pyneural.models.diffusion.denoising_model import DenoisingModel
from pyneural.training import Batch, Model
from pyneural.training.checks import check
from pyneural.training.data.adapter import DataAdapter
from pyneural.training.data.stream import Stream
from pyneural.training.evaluation import evaluation_mode
from pyneural.training.state import file as files
from pyneural.training.state.self_describing import SelfDescribing

_CHUNK = 10_000  # samples that are encoded at a time


class LatentDiffusion(SelfDescribing, Model):
    """A diffusion of latent vectors, which the decoder of an autoencoder turns into samples.

        z = encoder(x),   p(z) by diffusion,   x = decoder(z)

    It is trained after the autoencoder, which stays as it is from then on: first ``fit`` of the
    autoencoder, then that of this model, which measures mean and standard deviation of each latent
    variable and learns their distribution. Of a ``VariationalAutoencoder`` z is drawn from q(z|x)
    in training, and a sample is the mean of p(x|z).

    Args:
        autoencoder: trained, with ``encode`` and ``decode``, such as ``Autoencoder`` with
            latent_activation="linear", or ``VariationalAutoencoder``.
        diffusion: of rows with as many columns as there are latent variables: ``DDPM`` or
            ``FlowMatching`` with an ``MLPDenoiser``.

    Raises:
        ValueError: parts of other kinds; at the training, latent variables of another number, or
            constant ones.

    Source: Rombach et al. 2021, arXiv:2112.10752.

    >>> from pyneural.models import DDPM, Autoencoder, MLPDenoiser
    >>> _ = torch.manual_seed(0)
    >>> x = torch.rand(500, 8)
    >>> autoencoder = Autoencoder([8, 16, 2], latent_activation="linear")
    >>> autoencoder.compile("adam", "mse")
    >>> history = autoencoder.fit(x, x, verbose=0)
    >>> model = LatentDiffusion(autoencoder, DDPM(MLPDenoiser(2, [32, 32])))
    >>> model.compile("adam")
    >>> history = model.fit(x, verbose=0)
    >>> model.sample(5, steps=20).shape
    torch.Size([5, 8])
    """

    def __init__(self, autoencoder: torch.nn.Module, diffusion: DenoisingModel) -> None:
        super().__init__()
        good = all(hasattr(autoencoder, name) for name in ("encode", "decode"))
        remedy = "give an Autoencoder or a VariationalAutoencoder"
        check(good, "LatentDiffusion: autoencoder", "a module with encode and decode",
              type(autoencoder).__name__, remedy)  # fmt: skip
        good, remedy = isinstance(diffusion, DenoisingModel), "give a DDPM or a FlowMatching"
        check(good, "LatentDiffusion: diffusion", "a diffusion model", type(diffusion).__name__,
              remedy)  # fmt: skip
        self.autoencoder: Any = autoencoder.eval().requires_grad_(False)
        self.diffusion: DenoisingModel = diffusion
        # As it is for the autoencoder: whether whole numbers are converted, not refused.
        self.takes_counts = getattr(autoencoder, "takes_counts", False)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of the diffusion; the autoencoder is not trained."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """What the decoder makes of the latent vector of x: the best that a sample can be."""
        return self._decoded(self._encoded(x, False))

    def check_inputs(self, where: str, x: Tensor) -> None:
        """ValueError where the autoencoder does not take x."""
        if hasattr(self.autoencoder, "check_inputs"):
            self.autoencoder.check_inputs(where, x)

    def quantities(self) -> list[str]:
        """The loss alone."""
        return ["loss"]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of the diffusion for the latent vectors of a batch."""
        if len(batch.x):  # else the diffusion says what is wrong
            batch = batch._replace(x=self._encoded(batch.x, self.training))
        return self.diffusion.losses(batch)

    def sample(self, count: int, condition: Any = None, **options: Any) -> Tensor:
        """Samples [count, ...] in the units of the autoencoder's data.

        Args:
            count: how many.
            condition: of each sample, [count, C], or its class, [count].
            options: those of the diffusion's ``sample``, such as steps and guidance.
        """
        with evaluation_mode(self):
            diffusion: Any = self.diffusion
            return self._decoded(diffusion.sample(count, condition, **options))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, as ``load_model`` makes them."""
        parts = {"autoencoder": self.autoencoder, "diffusion": self.diffusion}
        return {name: files.describe(part) for name, part in parts.items()}

    @torch.no_grad()
    def _encoded(self, x: Tensor, drawn: bool) -> Tensor:
        """Latent vectors [N, latent] of samples: of a distribution its mean, or one at random."""
        z = self.autoencoder.encode(x)
        if isinstance(z, distributions.Distribution):
            return z.sample() if drawn else z.mean
        return z

    def _decoded(self, z: Tensor) -> Tensor:
        x = self.autoencoder.decode(z)
        return x.mean if isinstance(x, distributions.Distribution) else x

    def _build_for(self, where: str, x: Any) -> None:
        """Looks at the latent vectors of the data of ``fit``, its validation part left out."""
        super()._build_for(where, x)
        if where != "fit" or self.diffusion.scaled:
            return
        good, remedy = not isinstance(x, (DataLoader, Stream)), "call set_scale(x) before"
        check(good, "fit: x", "arrays or tensors to find the units by", "batches", remedy)
        self.set_scale(x)

    def set_scale(self, x: Any) -> None:
        """Measures mean and standard deviation of the latent variables of x; ``fit`` does it.

        Raises:
            ValueError: latent variables that are constant, or not as many as the diffusion has.
        """
        x = DataAdapter("LatentDiffusion.set_scale", self, None, 1).inputs(x)
        with evaluation_mode(self):
            z = torch.cat([self._encoded(part, False) for part in x.split(_CHUNK)])
        where = "LatentDiffusion: latent vectors"
        constant = (z == z[0]).all(0).nonzero().flatten().tolist()
        remedy = "train the autoencoder with latent_activation='linear', or less of them"
        check(not constant, where, "variables that vary", f"constant ones {constant}", remedy)
        self.diffusion.check_inputs(where, z)
        self.diffusion.set_scale(z)
