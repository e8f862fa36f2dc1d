"""Shared by the autoencoder demos: image data sets, their options, and the training."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from pyneural import data
from pyneural.demos import _fit, _options
from pyneural.models import Autoencoder
from pyneural.training import Adadelta, History

SETS = {"digits": (data.digits, 600), "mnist": (data.mnist, 20)}  # loader, default number of epochs
# Defaults of early Keras releases. Its present rate, 0.001, would need 1000 times as many steps.
ADADELTA = partial(Adadelta, lr=1.0, rho=0.95, eps=1e-7)
SHOWN = 10  # images in the pictures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options for the data set and the epochs."""
    parser.add_argument(
        "--data",
        choices=SETS,
        default="digits",
        metavar="DATA",
        help="digits (from scikit-learn) or mnist (downloaded once) (default: digits)",
    )
    epochs = ", ".join(f"{count} for {name}" for name, (_, count) in SETS.items())
    parser.add_argument(
        "--epochs",
        type=_options.whole(1, 10**6),
        metavar="N",
        help=f"passes through the images (default: {epochs})",
    )


def load(args: argparse.Namespace) -> tuple[Tensor, Tensor, int]:
    """Training and validation images, each [N, 784], and the number of epochs."""
    loader, epochs = SETS[args.data]
    (x, _), (held_out, _) = loader()
    return x.flatten(1), held_out.flatten(1), args.epochs or epochs


def train(
    name: str,
    widths: Sequence[int],
    last: str,
    loss: str,
    images: tuple[Tensor, Tensor, int],
    seed: int,
) -> tuple[Autoencoder, History, float]:
    """Trains an autoencoder on images from ``load``; the model, its history and the time in s."""
    x, held_out, epochs = images
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Autoencoder(widths, last_activation=last)
        model.compile(ADADELTA, loss, ["mse"])
        start = time.perf_counter()
        history = _fit.fit(
            model, name, x, x, epochs=epochs, batch_size=100,
            validation_data=(held_out, held_out),
        )  # fmt: skip
    return model, history, time.perf_counter() - start
