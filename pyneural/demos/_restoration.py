"""Shared by the demo of image to image: what is restored, the trainings, and how good they are."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyneural import data, optim
from pyneural.demos import _fit
from pyneural.metrics import psnr, ssim
from pyneural.models import DDPM, ImageDiffusion, ImageToImage, UNetDenoiser
from pyneural.training import Model
from pyneural.training.callbacks import EMA, Callback

CROPS = 1600  # of the left half of an image, to train with
NETWORK_RATE, DIFFUSION_RATE = 2e-3, 2e-3  # the highest of a cycle
WIDTH, BLOCKS = 32, 3  # of the network
DENOISER = 24  # channels of the first blocks of the diffusion's U-Net
DECAY = 0.99  # of the average of the weights of the diffusion


@dataclass(frozen=True)
class Problem:
    """Pairs for training and test, and an image for the picture."""

    task: str
    train: data.ImagePairs
    test: data.ImagePairs
    shown: data.ImagePairs  # [1, C, h, w] and [1, C, H, W], or as many as are drawn as one
    sampled: int  # of how many of the held-out images samples are drawn
    batch: int = 8
    window: float = 1.5  # standard deviation of the window of SSIM, in pixels

    @property
    def scale(self) -> int:
        """Factor between the edges of y and x."""
        return self.test.y.shape[-1] // self.test.x.shape[-1]


def of_image(image: Tensor, task: str, seed: int, corner: tuple[int, int], edge: int) -> Problem:
    """An image of which the left half trains; a square of its right half is shown."""
    train, test = data.image_pairs(image, task, CROPS, seed=seed)
    row, column = corner
    right = image[:, :, image.shape[2] // 2 :]
    y = right[None, :, row : row + edge, column : column + edge]
    return Problem(task, train, test, data.ImagePairs(data.degrade(y, task), y), sampled=8)


def of_digits(shown: int) -> Problem:
    """Digits of 8 x 8 pixels from 4 x 4; the first held-out ones are shown."""
    train, test = data.digit_pairs()
    first = data.ImagePairs(test.x[:shown], test.y[:shown])
    return Problem("super-resolution", train, test, first, sampled=100, batch=32, window=0.8)


def read_image(path: str) -> Tensor:
    """A picture [C, H, W] in [0, 1] from a file .png or .npy, grey or with red, green and blue."""
    file, where = Path(path), f"--data: {path}"
    if not file.is_file():
        raise FileNotFoundError(f"{where}: expected hubble, digits or a file, got none; check it")
    try:
        if file.suffix.lower() == ".npy":
            values = np.load(file, allow_pickle=False)
        else:
            from matplotlib.image import imread

            values = imread(file)
    # What readers of damaged files raise is not limited to ValueError.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{where}: expected a .png or .npy, got {reason}; convert it") from error
    if values.dtype in (np.uint8, np.uint16):
        values = values / np.float32(np.iinfo(values.dtype).max)
    good = values.dtype.kind == "f" and (
        values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (1, 3, 4))
    )
    if not good or (values.ndim == 3 and values.shape[2] == 4 and (values[..., 3] < 1).any()):
        raise ValueError(
            f"{where}: expected a picture [H, W] or [H, W, 3], of floats in [0, 1] or of 8 or 16 "
            f"bits, got {list(values.shape)} of {values.dtype}"
            + (" that is transparent" if good else "")
            + "; convert it"
        )
    values = values[..., None] if values.ndim == 2 else values[..., :3]
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).movedim(2, 0)


def train_network(problem: Problem, epochs: int, seed: int) -> tuple[ImageToImage, float]:
    """The network from that seed, trained with the squared error; the time in s."""
    torch.manual_seed(seed)
    channels = problem.train.y.shape[1]
    model = ImageToImage(channels, problem.scale, width=WIDTH, blocks=BLOCKS)
    name = f"{problem.task}, seed {seed}"
    return model, _train(model, name, problem, epochs, NETWORK_RATE, "mse")


def train_diffusion(
    problem: Problem, network: ImageToImage, epochs: int, seed: int
) -> tuple[ImageDiffusion, float]:
    """A diffusion of what the network leaves; the time in s."""
    torch.manual_seed(seed)
    channels, edge = 4 * network.channels, problem.train.y.shape[-1] // 2
    denoiser = UNetDenoiser(
        (channels, edge, edge), DENOISER, attention=0, condition_channels=2 * channels
    )
    model = ImageDiffusion(network, DDPM(denoiser, "cosine", "v"))
    name = f"{problem.task}, diffusion"
    return model, _train(model, name, problem, epochs, DIFFUSION_RATE, None, EMA(DECAY))


def _train(
    model: Model, name: str, problem: Problem, epochs: int, rate: float, loss: str | None,
    *callbacks: Callback,
) -> float:  # fmt: skip
    model.compile(partial(optim.Adam, lr=rate, fused=True), loss)
    x, y = problem.train
    beside = [_fit.one_cycle(rate, epochs * math.ceil(len(x) / problem.batch)), *callbacks]
    start = time.perf_counter()
    _fit.fit(model, name, x, y, *beside, epochs=epochs, batch_size=problem.batch)
    return time.perf_counter() - start


class Quality(NamedTuple):
    """PSNR in dB and SSIM, mean and standard deviation over images, [2] each."""

    mean: Tensor
    spread: Tensor


def quality(images: Tensor, truth: Tensor, window: float) -> Quality:
    """PSNR over all channels and mean SSIM of them, of images [N, C, H, W]."""
    each = torch.stack(
        [psnr(images.flatten(1, 2), truth.flatten(1, 2)),
         ssim(images, truth, sigma=window).mean(1)]
    )  # fmt: skip
    return Quality(each.mean(1), each.std(1) if each.shape[1] > 1 else torch.zeros(2))


def print_heading(task: str) -> None:
    """Prints the heading of a table."""
    columns = f"{'PSNR':>9}{'images':>9}{'seeds':>8}{'SSIM':>9}{'images':>9}{'seeds':>8}"
    print(f"\n  {task:<21}{columns}", flush=True)


def print_quality(name: str, found: Sequence[Quality]) -> None:
    """Prints means, spread over images, and that of the means over several seeds."""
    means = torch.stack([one.mean for one in found])
    cells: list[Any] = []
    for i, digits in ((0, 2), (1, 3)):
        seeds = f"{statistics.stdev(means[:, i].tolist()):.{digits}f}" if len(found) > 1 else ""
        mean, spread = float(means[:, i].mean()), float(found[0].spread[i])
        cells += [f"{mean:9.{digits}f}", f"{spread:9.{digits}f}", f"{seeds:>8}"]
    print(f"  {name:<21}{''.join(cells)}".rstrip(), flush=True)
