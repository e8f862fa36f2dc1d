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
from pyneural.demos import _images
from pyneural.demos._options import counted, print_row
from pyneural.models import Autoencoder

SYSTEMS = ("S15",)
SUMMARY = "An autoencoder of images, three losses."
NEXT = "pyneural demo autoencoder16: 16 neurons, and their errors"
QUICK = ("--epochs", "100")
WIDTHS = (784, 128, 64)
VARIANTS = (
    ("linear", "mean_squared_error"),
    ("sigmoid", "mean_squared_error"),
    ("sigmoid", "binary_crossentropy"),
)
SHORT = {"mean_squared_error": "mse", "binary_crossentropy": "bce"}
OPTIONS = _images.OPTIONS


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    images = x, held_out, epochs = _images.load(args)
    shown = held_out[: _images.SHOWN]
    print("Autoencoder 784-128-64-128-784\n")
    count = f"{Autoencoder(WIDTHS).count().total:,} parameters"
    print_row("network", f"{count}; {counted(epochs, 'epoch')} of Adadelta")
    print_row("images", f"{len(x):,} for training, {len(held_out):,} for validation")
    print(f"\n  {'':<16}{'loss':>9}{'mse':>9}{'time':>9}   loss curve")
    rows: list[tuple[str, Tensor]] = []
    curves = []
    for number, (last, loss) in enumerate(VARIANTS):
        name = f"{last} + {SHORT[loss]}"
        torch.manual_seed(args.seed + number)
        model, history, seconds = _images.train(name, WIDTHS, last, loss, images)
        reading = ", ".join(history.diagnose().labels or ("flat",)) if epochs >= 8 else ""
        mse = history["val_mse"][-1]
        print(f"  {name:<16}{history['val_loss'][-1]:9.4f}{mse:9.4f}{seconds:7.1f} s   {reading}")
        rows.append((f"{name}\nmse {mse:.4f}", model.predict(shown).view(-1, 28, 28)))
        curves.append((name, history["loss"], history["val_loss"]))
    print()
    return plots.reconstructions([("original", shown.view(-1, 28, 28)), *rows], curves)
