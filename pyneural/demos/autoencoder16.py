"""An autoencoder with 16 latent neurons.

    784-128-64-32-16-32-64-128-784, relu, 223,456 parameters

Trained with Adadelta, batches of 100, sigmoid last layer and binary
cross-entropy. Prints the loss and the squared error on validation images;
writes autoencoder16.png, images, their latent vectors and reconstructions.
"""

from __future__ import annotations

import argparse

import torch

from pyneural import plots
from pyneural.demos import _images
from pyneural.demos._options import counted, print_row

SYSTEMS = ("S16",)
SUMMARY = "An autoencoder of images, 16 neurons."
NEXT = "pyneural demo vae: one that has a density and samples"
QUICK = ("--epochs", "200")
WIDTHS = (784, 128, 64, 32, 16)
OPTIONS = _images.OPTIONS


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    images = x, held_out, epochs = _images.load(args)
    print("Autoencoder 784-128-64-32-16-32-64-128-784\n")
    model, history, seconds = _images.train(
        "sigmoid + bce", WIDTHS, "sigmoid", "binary_crossentropy", images
    )
    shown = held_out[: _images.SHOWN]
    with torch.no_grad():
        latent = model.encode(shown)
        predicted = model.decode(latent)
    mse = history["val_mse"][-1]
    used = int((model.encode(held_out).detach() > 0).any(0).sum())
    print_row("network", f"{model.count().total:,} parameters, sigmoid and cross-entropy")
    print_row("images", f"{len(x):,} for training, {len(held_out):,} for validation")
    print_row("training", f"{counted(epochs, 'epoch')} of Adadelta, {seconds:.1f} s")
    print_row("cross-entropy", f"{history['val_loss'][-1]:.4f} in validation")
    print_row("mse", f"{mse:.4f} in validation")
    print_row("latent", f"{used} of 16 neurons are active (above 0) for some image")
    rows = [
        ("original", shown.view(-1, 28, 28)),
        ("latent,\n16 neurons", latent.view(-1, 4, 4)),
        (f"predicted\nmse {mse:.4f}", predicted.view(-1, 28, 28)),
    ]
    curves = [("sigmoid + bce", history["loss"], history["val_loss"])]
    return plots.reconstructions(rows, curves)
