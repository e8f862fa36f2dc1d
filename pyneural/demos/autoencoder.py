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
import time
from functools import partial

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos import _fit, _images, _options
from pyneural.models import Autoencoder
from pyneural.training import Adadelta

SYSTEMS = ("S15",)
SUMMARY = "An autoencoder of images, three losses."
WIDTHS, SHOWN = (784, 128, 64), 10
VARIANTS = (
    ("linear", "mean_squared_error"),
    ("sigmoid", "mean_squared_error"),
    ("sigmoid", "binary_crossentropy"),
)
# Defaults of early Keras releases. Its present rate, 0.001, would need 1000 times as many steps.
ADADELTA = partial(Adadelta, lr=1.0, rho=0.95, eps=1e-7)
SHORT = {"mean_squared_error": "mse", "binary_crossentropy": "bce"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options."""
    _images.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the demo; returns 0."""
    out = _options.checked_out(args.out)
    x, held_out, epochs = _images.load(args)
    print("Autoencoder 784-128-64-128-784\n")
    rows: list[tuple[str, Tensor]] = []
    curves = []
    for number, (last, loss) in enumerate(VARIANTS):
        name = f"{last} + {SHORT[loss]}"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(args.seed + number)
            model = Autoencoder(WIDTHS, last_activation=last)
            model.compile(ADADELTA, loss, ["mse"])
            if not rows:
                count = f"{model.count().total:,} parameters"
                _options.print_rows(
                    [
                        ("network", f"{count}; {_options.counted(epochs, 'epoch')} of Adadelta"),
                        ("images", f"{len(x):,} for training, {len(held_out):,} for validation"),
                    ]
                )
                print(f"\n  {'':<16}{'loss':>9}{'mse':>9}{'time':>9}   loss curve")
            start = time.perf_counter()
            history = _fit.fit(
                model, name, x, x, epochs=epochs, batch_size=100,
                validation_data=(held_out, held_out),
            )  # fmt: skip
        seconds = time.perf_counter() - start
        reading = ", ".join(history.diagnose().labels or ("flat",)) if epochs >= 8 else ""
        mse = history["val_mse"][-1]
        print(f"  {name:<16}{history['val_loss'][-1]:9.4f}{mse:9.4f}{seconds:7.1f} s   {reading}")
        rows.append((f"{name}\nmse {mse:.4f}", model.predict(held_out[:SHOWN]).view(-1, 28, 28)))
        curves.append((name, history["loss"], history["val_loss"]))
    print()
    figure = plots.reconstructions([("original", held_out[:SHOWN].view(-1, 28, 28)), *rows], curves)
    _options.print_rows([("picture", str(plots.save(figure, out / "autoencoder.png")))])
    return 0
