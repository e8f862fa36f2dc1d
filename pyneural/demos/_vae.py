"""Shared by the demos of variational autoencoders: images, the model, training, spread."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from pyneural import data
from pyneural.demos import _fit
from pyneural.demos._options import counted, print_row
from pyneural.models import BernoulliLikelihood, BinomialLikelihood, VariationalAutoencoder
from pyneural.training import History

BOUND, BOUNDED = 500, 1_000  # samples of the importance-weighted bound; images of it at most
WARM_UP = 0.1  # share of the training in which beta rises to 1
DATA = "digits (8 x 8, from scikit-learn) or mnist (binarised, downloaded once)"


@dataclass(frozen=True)
class Images:
    """A data set of images with whole numbers 0 to ``levels``, and a network for it."""

    x: Tensor  # [N, pixels]
    held_out: Tensor  # [M, pixels]
    classes: Tensor  # of x, [N]
    side: int  # pixels of an edge
    levels: int
    hidden: tuple[int, ...]
    batch_size: int
    weight_decay: float
    pooled: int  # edge of the squares whose means the classifier of C2ST sees
    seeds: int  # trainings whose mean and spread are reported

    @property
    def pixels(self) -> int:
        """Number of pixels of an image."""
        return self.side**2

    def unflattened(self, x: Tensor) -> Tensor:
        """Images [..., side, side] of rows [..., pixels]."""
        return x.unflatten(-1, (self.side, self.side))

    def for_classifier(self, x: Tensor) -> Tensor:
        """Means of squares of pixels, [N, pixels / pooled^2], of rows [N, pixels]."""
        return avg_pool2d(self.unflattened(x), self.pooled).flatten(1)


def digits() -> Images:
    """The native digits, 1,437 images: the weight decay is for so few."""
    (x, classes), (held_out, _) = data.digits_8x8()
    return Images(x, held_out, classes, 8, 16, (256, 256), 50, 0.3, pooled=1, seeds=3)


def mnist() -> Images:
    """MNIST with each pixel drawn once as 0 or 1 (Salakhutdinov and Murray 2008)."""
    (x, classes), (held_out, _) = data.mnist()
    generator = torch.Generator().manual_seed(0)
    x, held_out = (torch.bernoulli(one.flatten(1), generator=generator) for one in (x, held_out))
    return Images(x, held_out, classes, 28, 1, (400, 400), 100, 0.01, pooled=4, seeds=1)


SETS: dict[str, Callable[[], Images]] = {"digits": digits, "mnist": mnist}


def print_settings(images: Images, epochs: int) -> None:
    """Prints the data set and the training."""
    count, held_out = len(images.x), len(images.held_out)
    size = f"{images.side} x {images.side}"
    print_row("images", f"{count:,} for training, {held_out:,} held out, {size}")
    print_row("training", f"{counted(epochs, 'epoch')} of AdamW, batches of {images.batch_size}")


def train(
    name: str, images: Images, latent: int, epochs: int, seed: int, prior: Any = None
) -> tuple[VariationalAutoencoder, History, float]:
    """The model from that seed, its curves and the time in s; beta rises to 1 at the start."""
    torch.manual_seed(seed)
    likelihood = BernoulliLikelihood() if images.levels == 1 else BinomialLikelihood(images.levels)
    model = VariationalAutoencoder(
        [images.pixels, *images.hidden, latent],
        likelihood,
        activation="silu",
        prior=prior,
        warm_up=math.ceil(WARM_UP * epochs),
        unit="epoch",
    )
    model.compile(partial(torch.optim.AdamW, lr=1e-3, weight_decay=images.weight_decay))
    options: dict[str, Any] = {"validation_data": images.held_out, "batch_size": images.batch_size}
    start = time.perf_counter()
    history = _fit.fit(model, name, images.x, None, epochs=epochs, **options)
    return model, history, time.perf_counter() - start


@torch.no_grad()
def bounds(model: VariationalAutoencoder, x: Tensor) -> tuple[float, float]:
    """Means over images of the ELBO, averaged over draws, and of the importance-weighted bound."""
    draws = max(1, 10_000 // len(x))
    elbo = sum(float(model.elbo(x).mean()) for _ in range(draws)) / draws
    return elbo, float(model.log_prob(x[:BOUNDED], BOUND).mean())


def with_spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and, of several values, standard deviation, as text.

    >>> with_spread([1.0, 2.0, 3.0]), with_spread([1.0])
    ('2.0 +- 1.0', '1.0')
    """
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} +- {statistics.stdev(values):.{digits}f}"
