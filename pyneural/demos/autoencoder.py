"""An autoencoder with 64 latent neurons, with three last layers and losses.

    784-128-64-128-784, relu, 218,192 parameters

Trained with Adadelta, batches of 100, three times from a new initialisation:
with a linear last layer and the squared error, with a sigmoid and the squared
error, and with a sigmoid and the binary cross-entropy. Prints the loss and the
squared error on validation images; writes autoencoder.png, images and their
reconstructions.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos import _images, _options
from pyneural.models import Autoencoder

SYSTEMS = ("S15",)
SUMMARY = "An autoencoder of images, three losses."
WIDTHS = (784, 128, 64)
VARIANTS = (
    ("linear", "mean_squared_error"),
    ("sigmoid", "mean_squared_error"),
    ("sigmoid", "binary_crossentropy"),
)
SHORT = {"mean_squared_error": "mse", "binary_crossentropy": "bce"}

add_arguments = _images.add_arguments


def run(args: argparse.Namespace) -> int:
    """Runs the demo; returns 0."""
    images = x, held_out, epochs = _images.load(args)
    shown = held_out[: _images.SHOWN]
    print("Autoencoder 784-128-64-128-784\n")
    with torch.random.fork_rng(devices=[]):
        count = f"{Autoencoder(WIDTHS).count().total:,} parameters"
    _options.print_rows(
        [
            ("network", f"{count}; {_options.counted(epochs, 'epoch')} of Adadelta"),
            ("images", f"{len(x):,} for training, {len(held_out):,} for validation"),
        ]
    )
    print(f"\n  {'':<16}{'loss':>9}{'mse':>9}{'time':>9}   loss curve")
    rows: list[tuple[str, Tensor]] = []
    curves = []
    for number, (last, loss) in enumerate(VARIANTS):
        name = f"{last} + {SHORT[loss]}"
        model, history, seconds = _images.train(
            name, WIDTHS, last, loss, images, args.seed + number
        )
        reading = ", ".join(history.diagnose().labels or ("flat",)) if epochs >= 8 else ""
        mse = history["val_mse"][-1]
        print(f"  {name:<16}{history['val_loss'][-1]:9.4f}{mse:9.4f}{seconds:7.1f} s   {reading}")
        rows.append((f"{name}\nmse {mse:.4f}", model.predict(shown).view(-1, 28, 28)))
        curves.append((name, history["loss"], history["val_loss"]))
    print()
    figure = plots.reconstructions([("original", shown.view(-1, 28, 28)), *rows], curves)
    _options.save_picture(figure, args.out / "autoencoder.png")
    return 0
