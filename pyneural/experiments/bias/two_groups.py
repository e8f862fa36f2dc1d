"""Two groups of images that a network restores: rows to train with, and weights that balance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pyneural import data, optim
from pyneural.errors import check_argument, is_whole
from pyneural.models import Autoencoder, ImageToImage
from pyneural.training import Model
from pyneural.training.callbacks import TorchScheduler

LOOP, NO_LOOP = (0, 6, 8, 9), (1, 2, 3, 5, 7)  # the digits; a 4 is written in both ways
LATENT = 16  # of the autoencoder of digits
FACTOR = 4  # of the super-resolution, along each edge
WIDTH, BLOCKS = 16, 2  # of its network
BRIGHTER = 4.0  # how much brighter faint sources are shown


@dataclass(frozen=True)
class TwoGroups:
    """Images of two groups, and the network that is to restore them.

    Attributes:
        name: what is done with what, for tables.
        groups: names of group 0 and group 1, in the plural.
        x, y: inputs and true images to train with, [N, ...].
        group: 0 or 1 for each, int64 [N].
        x_test, y_test, group_test: held-out ones.
        shown: indices of held-out images for a picture.
        shape: of a true image, (C, H, W).
        model: makes the network.
        total: number of images that each network is trained with.
        steps, batch, rate: updates, images of each, and the highest learning rate.
        brighter: factor for pictures, by group.
    """

    name: str
    groups: tuple[str, str]
    x: Tensor
    y: Tensor
    group: Tensor
    x_test: Tensor
    y_test: Tensor
    group_test: Tensor
    shown: tuple[int, ...]
    shape: tuple[int, int, int]
    model: Callable[[], Model]
    total: int
    steps: int
    batch: int
    rate: float = 3e-3
    brighter: tuple[float, float] = (1.0, 1.0)


def digit_groups() -> TwoGroups:
    """Digits of 8 x 8 pixels with a closed loop, 0 6 8 9, and without, 1 2 3 5 7; an autoencoder.

    64-128-16-128-64, linear in the middle, with a sigmoid at the end. A 4 is left out, since it
    is written both open and closed.

    Raises:
        ImportError: scikit-learn is missing.

    >>> import pytest; _ = pytest.importorskip("sklearn")
    >>> digit_groups().group.bincount()
    tensor([571, 722])
    """
    parts: list[Tensor] = []
    for pixels, digit in data.digits_8x8():
        group = torch.isin(digit, torch.tensor(NO_LOOP)).long()
        kept = torch.isin(digit, torch.tensor(LOOP + NO_LOOP))
        parts += [pixels[kept] / 16, group[kept], digit[kept]]
    y, group, _, y_test, group_test, digit = parts
    shown = tuple(int((digit == number).nonzero()[0]) for number in LOOP + NO_LOOP)
    layers = {"latent_activation": "linear", "last_activation": "sigmoid"}
    make = partial(Autoencoder, [64, 128, LATENT], **layers)
    return TwoGroups(
        "reconstruction of digits", ("digits with a loop", "digits without a loop"), y, y, group,
        y_test, y_test, group_test, shown, (1, 8, 8), make, total=500, steps=600, batch=50,
    )  # fmt: skip


def hubble_groups() -> TwoGroups:
    """Bright and faint sources of the Hubble deep field, made sharper by four along each edge.

    The cut-outs of ``data.hubble_sources`` from means of 4 x 4 pixels, by ``ImageToImage``.

    Raises:
        ImportError: scikit-image is missing.

    >>> import pytest; _ = pytest.importorskip("skimage")
    >>> hubble_groups().x.shape[1:]
    torch.Size([3, 4, 4])
    """
    (y, group), (y_test, group_test) = data.hubble_sources()
    places = [(group_test == number).nonzero()[:, 0].tolist() for number in (0, 1)]
    # Spread over the right half of the picture.
    shown = tuple(part[len(part) * i // 4] for part in places for i in range(4))
    channels, height, width = y.shape[1:]
    make = partial(ImageToImage, channels, FACTOR, width=WIDTH, blocks=BLOCKS)
    return TwoGroups(
        "super-resolution of galaxies", ("bright sources", "faint sources"),
        data.downsample(y, FACTOR), y, group, data.downsample(y_test, FACTOR), y_test, group_test,
        shown, (channels, height, width), make, total=200, steps=300, batch=20,
        brighter=(1.0, BRIGHTER),
    )  # fmt: skip


def drawn_rows(group: Tensor, counts: Sequence[int], seed: int) -> Tensor:
    """Rows of a training set with so many of each group, drawn without replacement.

    With the same seed, the rows of a smaller count are among those of a larger one: what differs
    between two trainings is the count, and not also which images are easy.

    Args:
        group: 0 or 1 of each image, int64 [N].
        counts: how many of group 0 and of group 1.
        seed: of the draw.

    Returns:
        indices, int64 [sum of counts], those of group 0 first.

    Raises:
        ArgumentError: more than there are, or groups other than 0 and 1.

    >>> drawn_rows(torch.tensor([0, 1, 1, 0]), (1, 2), seed=0).sort().values[-2:]
    tensor([1, 2])
    """
    sizes = _sizes("drawn_rows", group)
    good = len(counts) == 2 and all(map(is_whole, counts))
    good = good and all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))
    expected = f"at most {sizes[0]} and {sizes[1]} images"
    check_argument(good, "drawn_rows: counts", expected, list(counts), "ask for fewer")
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for number, count in enumerate(counts):
        members = (group == number).nonzero()[:, 0]
        parts.append(members[torch.randperm(len(members), generator=generator)][: int(count)])
    return torch.cat(parts)


def balancing_weights(group: Tensor) -> Tensor:
    """Weights of images with which both groups have the same sum, and the mean is 1.

        w_i = N / (2 N_g),   g the group of image i

    As weights of the loss they are reweighting, as probabilities resampling: the minority is drawn
    as often as the majority, each of its images more often.

    Args:
        group: 0 or 1 of each image, int64 [N]; both occur.

    Returns:
        float32 [N].

    Raises:
        ArgumentError: a group that is missing, or others than 0 and 1.

    >>> balancing_weights(torch.tensor([0, 0, 0, 1]))
    tensor([0.6667, 0.6667, 0.6667, 2.0000])
    """
    sizes = _sizes("balancing_weights", group)
    expected = "images of both groups"
    check_argument(min(sizes) > 0, "balancing_weights: group", expected, sizes, "add some")
    return (len(group) / (2 * torch.tensor(sizes)))[group]


def train(problem: TwoGroups, rows: Tensor, repair: str, seed: int) -> Model:
    """The network trained on these rows, always for as many updates of as many images.

    Args:
        problem: images, network and budget.
        rows: indices of images, as of ``drawn_rows``.
        repair: "none"; "weights", the loss of an image times ``balancing_weights``; or
            "resampling", images drawn with these as probabilities. Else all are drawn alike.
        seed: of the initial network and of the draws.

    Raises:
        ArgumentError: an unknown repair.
    """
    good = repair in ("none", "weights", "resampling")
    expected = "'none', 'weights' or 'resampling'"
    check_argument(good, "train: repair", expected, repr(repair), "write one of them")
    even = torch.ones(len(rows))
    balanced = even if repair == "none" else balancing_weights(problem.group[rows])
    weight = balanced if repair == "weights" else even
    probability = balanced if repair == "resampling" else even
    torch.manual_seed(seed)
    model = problem.model()
    model.compile(partial(optim.Adam, lr=problem.rate, fused=True), "mse")
    schedule = partial(
        torch.optim.lr_scheduler.OneCycleLR, max_lr=problem.rate, total_steps=problem.steps,
        pct_start=0.1, cycle_momentum=False,
    )  # fmt: skip
    model.fit(
        _batches(problem, rows, weight, probability, seed), steps_per_epoch=problem.steps,
        verbose=0, callbacks=[TorchScheduler(schedule, "batch")],
    )  # fmt: skip
    return model


def _batches(
    problem: TwoGroups, rows: Tensor, weight: Tensor, probability: Tensor, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        drawn = torch.multinomial(probability, problem.batch, True, generator=generator)
        yield problem.x[rows[drawn]], problem.y[rows[drawn]], weight[drawn]


def _sizes(where: str, group: Tensor) -> list[int]:
    """How many images either group has."""
    good = not group.is_floating_point() and bool(((group == 0) | (group == 1)).all())
    check_argument(good, f"{where}: group", "whole numbers 0 and 1", group.unique().tolist())
    return torch.bincount(group, minlength=2).tolist()
