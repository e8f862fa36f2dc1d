"""A small convolutional classifier of images, whose last hidden layer gives features of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample
from torch.utils.data import DataLoader, TensorDataset

from pyneural import nn, optim
from pyneural.errors import wholes
from pyneural.training import Model
from pyneural.training.callbacks import TorchScheduler
from pyneural.training.checks import check
from pyneural.training.data.tensors import check_finite
from pyneural.training.evaluation import evaluation_mode

_CHANNELS = (32, 64, 64)
_SMALLEST = 12  # pixels of an edge that is halved twice
_ROWS = 2000  # images at a time outside of a training
_BATCH, _RATE = 64, 3e-3  # of a training; the rate is the highest
_TURN, _STRETCH, _SHIFT = 0.2, 0.1, 1 / 12  # distortions: radians, shares of the size


class ImageClassifier(Model):
    """Convolutional classifier: h = features of an image, log p(class) = W h + b + const.

    The features are made of 3 x 3 convolutions of 32, 64 and 64 channels with relu and the maximum
    of 2 x 2 pixels after the second, and of images of 12 pixels or more after the third; dropout
    stands before h and after it.

    Args:
        shape: of an image, (H, W) or (C, H, W); 4 pixels or more on an edge.
        classes: number of them.
        features: number F of components of h.

    Shape:
        images [N, H, W], [N, C, H, W] or rows of their pixels, to logits [N, classes]. Pixels are
        best between 0 and 1.

    Raises:
        ValueError: a shape that is none, counts below 1, images of another shape.

    >>> classifier = ImageClassifier((8, 8), classes=10)
    >>> images = torch.rand(5, 8, 8)
    >>> classifier(images).shape, classifier.features(images).shape
    (torch.Size([5, 10]), torch.Size([5, 64]))
    """

    def __init__(self, shape: Sequence[int], classes: int, features: int = 64) -> None:
        super().__init__()
        classes, features = wholes("ImageClassifier", classes=classes, features=features)
        good = min(classes, features) >= 1
        check(good, "ImageClassifier: classes, features", "numbers >= 1", (classes, features))
        where, got = "ImageClassifier: shape", tuple(shape)
        check(len(got) in (2, 3), where, "(H, W) or (C, H, W)", got, "write (28, 28)")
        check(min(got[-2:]) >= 4, where, "4 pixels or more on an edge", got, "enlarge the images")
        channels, height, width = got if len(got) == 3 else (1, *got)
        self.shape = (channels, height, width)
        first, second, third = _CHANNELS
        halvings = 2 if min(height, width) >= _SMALLEST else 1
        layers: list[torch.nn.Module] = [
            torch.nn.Conv2d(channels, first, 3, padding=1), torch.nn.ReLU(),
            torch.nn.Conv2d(first, second, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(second, third, 3, padding=1), torch.nn.ReLU(),
            *[torch.nn.MaxPool2d(2) for _ in range(halvings - 1)],
        ]  # fmt: skip
        pixels = (height // 2**halvings) * (width // 2**halvings)
        self.convolutions = torch.nn.Sequential(*layers, torch.nn.Flatten(), nn.Dropout(0.3))
        self.hidden = nn.Linear(third * pixels, features, activation="relu")
        self.dropout = nn.Dropout(0.3)
        self.readout = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes]."""
        return self.readout(self.dropout(self._hidden(x)))

    def _hidden(self, x: Tensor) -> Tensor:
        good, got = x[:1].numel() == x[:1].new_empty(self.shape).numel(), list(x.shape)
        channels, height, width = self.shape
        expected = f"[N, {height}, {width}]" if channels == 1 else f"[N, {list(self.shape)}]"
        check(good or not len(x), "ImageClassifier: x", f"{expected} or rows of pixels", got)
        return self.hidden(self.convolutions(x.reshape(len(x), *self.shape)))

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer h of images, [N, F], in evaluation mode, without gradients."""
        return self._measured("features", self._hidden, x)

    def probabilities(self, x: Tensor) -> Tensor:
        """Of each class, [N, classes], in evaluation mode, without gradients."""
        return self._measured("probabilities", self, x).softmax(1)

    def _measured(self, name: str, function: Any, x: Tensor) -> Tensor:
        where = f"ImageClassifier.{name}: x"
        check(len(x) > 0, where, "an image or more", list(x.shape), "give one")
        check_finite(where, x)
        like = next(self.parameters())
        with evaluation_mode(self):
            return torch.cat([function(part.to(like)) for part in x.split(_ROWS)])


def train_image_classifier(
    images: Tensor, labels: Tensor, *, classes: int = 10, epochs: int = 20, seed: int = 0
) -> ImageClassifier:
    """An ``ImageClassifier``, trained with Adam and one cycle of the learning rate.

    Images are turned, stretched and shifted by a little, each time in another way. Of the 1,437
    native digits the training takes some 10 s of one core, and knows 98 % of the others. The same
    seed gives the same network, so that distances of its features can be compared; the generator of
    torch is left as it was.

    Args:
        images: [N, H, W] or [N, C, H, W], pixels between 0 and 1.
        labels: whole numbers from 0, [N].
        classes: number of classes.
        epochs: passes through the images.
        seed: of the weights, the order of the images, their distortions and the dropout.

    Raises:
        ValueError: data that do not fit.

    >>> images, labels = torch.rand(64, 8, 8), torch.arange(64) % 2
    >>> classifier = train_image_classifier(images, labels, classes=2, epochs=1)
    >>> classifier.probabilities(images).shape
    torch.Size([64, 2])
    """
    good, got = images.ndim in (3, 4) and len(images) > 0, list(images.shape)
    check(good, "train_image_classifier: images", "[N, H, W] or [N, C, H, W]", got)
    good, got = labels.shape == images.shape[:1], list(labels.shape)
    check(good, "train_image_classifier: labels", f"[{len(images)}]", got, "one for each image")
    check_finite("train_image_classifier: images", images)
    generator = torch.Generator().manual_seed(seed)

    def collate(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        some, of_some = zip(*rows, strict=True)
        return _distorted(torch.stack(some), generator), torch.stack(of_some)

    pairs = TensorDataset(images, labels)
    batches = DataLoader(pairs, _BATCH, shuffle=True, collate_fn=collate)
    cycle = partial(
        torch.optim.lr_scheduler.OneCycleLR, max_lr=_RATE, total_steps=epochs * len(batches),
        cycle_momentum=False,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ImageClassifier(images.shape[1:], classes).to(images.device)
        model.compile(partial(optim.Adam, lr=_RATE), cross_entropy)
        beside = [TorchScheduler(cycle, "batch")]
        model.fit(batches, epochs=epochs, verbose=0, callbacks=beside)
    return model


def _distorted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images, turned by up to 0.2, stretched by up to a tenth, shifted by up to a twelfth."""
    turn, along, across, skew, *shift = 2 * torch.rand(6, len(images), generator=generator) - 1
    cos, sin = (_TURN * turn).cos(), (_TURN * turn).sin()
    x_scale, y_scale = 1 + _STRETCH * along, 1 + _STRETCH * across
    first = torch.stack([cos * x_scale, _TURN * skew - sin * y_scale, 2 * _SHIFT * shift[0]], 1)
    second = torch.stack([sin * x_scale, cos * y_scale, 2 * _SHIFT * shift[1]], 1)
    maps = torch.stack([first, second], 1).to(images)  # [N, 2, 3]
    x = images if images.ndim == 4 else images[:, None]
    grid = affine_grid(maps, list(x.shape), align_corners=False)
    return grid_sample(x, grid, align_corners=False).view(images.shape)
