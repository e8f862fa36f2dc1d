"""Shared by the autoencoder demos: image data sets, their options, and the training."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from pyneural import data
from pyneural.demos import _fit
from pyneural.demos._options import option, whole
from pyneural.models import Autoencoder
from pyneural.optim import Adadelta
from pyneural.training import History

SETS = {"digits": (data.digits, 600), "mnist": (data.mnist, 20)}  # loader, default number of epochs
# Defaults of early Keras releases. Its present rate, 0.001, would need 1000 times as many steps.
ADADELTA = partial(Adadelta, lr=1.0, rho=0.95, eps=1e-7)
SHOWN = 10  # images in the pictures
_SETS = "digits (from scikit-learn) or mnist (downloaded once)"
_EPOCHS = ", ".join(f"{count} for {name}" for name, (_, count) in SETS.items())
OPTIONS = {
    "--data": option(_SETS, "digits", choices=SETS, metavar="DATA"),
    "--epochs": whole(f"passes through the images (default: {_EPOCHS})", None, 1, 10**6),
}


def load(args: argparse.Namespace) -> tuple[Tensor, Tensor, int]:
    """Training and validation images, each [N, 784], and the number of epochs."""
    loader, epochs = SETS[args.data]
    (x, _), (held_out, _) = loader()
    return x.flatten(1), held_out.flatten(1), args.epochs or epochs


def train(
    name: str, widths: Sequence[int], last: str, loss: str, images: tuple[Tensor, Tensor, int]
) -> tuple[Autoencoder, History, float]:
    """Trains an autoencoder on images from ``load``; the model, its history and the time in s."""
    x, held_out, epochs = images
    model = Autoencoder(widths, last_activation=last)
    model.compile(ADADELTA, loss, ["mse"])
    start = time.perf_counter()
    history = _fit.fit(
        model, name, x, x, validation_data=(held_out, held_out), epochs=epochs, batch_size=100
    )
    return model, history, time.perf_counter() - start
