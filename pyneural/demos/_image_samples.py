"""Shared by the demos that sample images: the data, the training, and measures with their floor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural import data
from pyneural.demos import _fit
from pyneural.demos._options import print_row
from pyneural.metrics import (
    NoiseFloor,
    class_coverage,
    frechet_distance,
    memorisation,
    noise_floor,
)
from pyneural.models import ImageClassifier, train_image_classifier
from pyneural.training import History, Model
from pyneural.training.callbacks import EMA

CLASSES = 10
MOST = 1000  # images in half of the data that are measured, at most
HALVINGS = 10
DATA = "digits (8 x 8, from scikit-learn) or mnist (downloaded once)"


@dataclass(frozen=True)
class Images:
    """A data set of grey images with their classes; pixels go from 0 to ``high``."""

    x: Tensor  # [N, 1, H, W]
    classes: Tensor  # [N]
    held_out: Tensor  # [M, 1, H, W]
    high: float
    whole: bool  # whether pixels are whole numbers

    @property
    def size(self) -> int:
        """Pixels of an edge."""
        return self.x.shape[-1]

    def rounded(self, x: Tensor) -> Tensor:
        """Values that pixels have: clipped, and whole numbers where they are."""
        x = x.clamp(0, self.high)
        return x.round() if self.whole else x

    def print_settings(self) -> None:
        """Prints the data set."""
        size = f"{self.size} x {self.size}"
        print_row(
            "images", f"{len(self.x):,} for training, {len(self.held_out):,} held out, {size}"
        )

    def grid(self, x: Tensor, classes: Tensor) -> Tensor:
        """The first ten images of each class, [10, 10, H, W], white where there are fewer."""
        rows = torch.zeros(CLASSES, CLASSES, *x.shape[2:])
        for k, row in enumerate(rows):
            found = x[classes == k][:CLASSES, 0]
            row[: len(found)] = found
        return rows


def digits() -> Images:
    """The native digits, whole numbers 0 to 16."""
    (x, classes), (held_out, _) = data.digits_8x8()
    x, held_out = (one.unflatten(1, (1, 8, 8)) for one in (x, held_out))
    return Images(x, classes, held_out, 16.0, whole=True)


def mnist() -> Images:
    """MNIST, from 0 to 1."""
    (x, classes), (held_out, _) = data.mnist()
    return Images(x[:, None], classes, held_out[:, None], 1.0, whole=False)


SETS: dict[str, Callable[[], Images]] = {"digits": digits, "mnist": mnist}


def train(
    model: Model, name: str, x: Tensor, y: Tensor, epochs: int, batch: int, rate: float, ema: float
) -> tuple[History, float]:
    """Trains with one cycle of the learning rate and a moving average; curves and time in s."""
    model.compile(partial(torch.optim.AdamW, lr=rate, weight_decay=0.0, fused=True))
    beside = _fit.one_cycle(rate, epochs * math.ceil(len(x) / batch)), EMA(ema)
    start = time.perf_counter()
    history = _fit.fit(model, name, x, y, *beside, epochs=epochs, batch_size=batch)
    return history, time.perf_counter() - start


class Judge:
    """Measures of samples by a classifier that is trained on the images, printed as rows."""

    def __init__(self, images: Images, epochs: int, seed: int) -> None:
        self.images = images
        x = images.x / images.high
        self.classifier: ImageClassifier = train_image_classifier(
            x, images.classes, epochs=epochs, seed=seed
        )
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        self.count = min(len(x) // 2, MOST)  # images of a measure
        self.real = self.features(images.x[order[: 2 * self.count]])
        self.floor: NoiseFloor = noise_floor(frechet_distance, self.real, repeats=HALVINGS)

    def features(self, x: Tensor) -> Tensor:
        """Features of images."""
        return self.classifier.features(x / self.images.high)

    def distance(self, x: Tensor) -> float:
        """Frechet distance to half of the data, the mean over halvings."""
        found, total = self.features(x), 0.0
        for i in range(HALVINGS):
            order = torch.randperm(len(self.real), generator=torch.Generator().manual_seed(i))
            total += frechet_distance(found, self.real[order[: self.count]])
        return total / HALVINGS

    def print_head(self) -> None:
        """Prints the columns, and what is said of the data themselves."""
        columns = ("Frechet distance", "classes", "confident", "as asked", "time")
        print("\n  {:<21}{:>16}{:>9}{:>11}{:>10}{:>9}".format("", *columns))
        found = class_coverage(self.classifier.probabilities(self.images.x / self.images.high))
        print(f"  {'two halves of data':<21}{self.floor!s:>16}{found.covered:9d}"
              f"{found.confident:11.1%}")  # fmt: skip
        found = class_coverage(
            self.classifier.probabilities(self.images.held_out / self.images.high)
        )
        print(f"  {'held-out images':<21}{'':>16}{found.covered:9d}{found.confident:11.1%}")

    def print_row(
        self, name: str, x: Tensor, asked: Tensor | None = None, seconds: float | None = None
    ) -> float:
        """Prints the measures of samples, and gives their distance.

        Args:
            name: of the row.
            x: as many samples as a measure takes.
            asked: class that each was asked for.
            seconds: that sampling took.
        """
        distance = self.distance(x)
        p = self.classifier.probabilities(x / self.images.high)
        found = class_coverage(p)
        right = "" if asked is None else f"{float((p.argmax(1) == asked).double().mean()):.1%}"
        took = "" if seconds is None else f"{seconds:.1f} s"
        row = f"  {name:<21}{f'{distance:.3g}':>16}{found.covered:9d}{found.confident:11.1%}"
        print(f"{row}{right:>10}{took:>9}".rstrip(), flush=True)
        return distance

    def print_copies(self, x: Tensor) -> None:
        """Prints how many of the samples are closer to training images than held-out ones are."""
        rows = (part.flatten(1) for part in (x, self.images.x, self.images.held_out))
        found = memorisation(*rows)
        text = "of samples are closer to training images than held-out ones"
        print_row("copies", f"{found.share:.0%} {text}")

    def sampled(self, draw: Callable[..., Tensor], **options: Any) -> tuple[Tensor, Tensor, float]:
        """As many samples as a measure takes, all classes alike, and their classes and time."""
        asked = torch.arange(self.count) % CLASSES
        start = time.perf_counter()
        x = self.images.rounded(draw(self.count, asked, **options))
        return x, asked, time.perf_counter() - start
