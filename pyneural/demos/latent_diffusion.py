"""Latent diffusion: digits made of 16 latent variables, which are made of noise.

    z = encoder(x),   p(z | class) by diffusion,   x = decoder(z)

An autoencoder of native 8 x 8 digits of scikit-learn, or of MNIST, is trained
first; then a diffusion of its latent variables, with an MLP that is told the
class of nine images in ten, AdamW, one cycle of the learning rate and a moving
average of the weights. Samples are measured by a classifier of the images, as
in the demo ddpm, beside two halves of the data and beside reconstructions, the
best that samples can be. Writes latent-diffusion.png: the three beside each
other.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos import _fit
from pyneural.demos._image_samples import CLASSES, DATA, SETS, Images, Judge, train
from pyneural.demos._options import counted, option, print_row, whole
from pyneural.models import DDPM, Autoencoder, LatentDiffusion, MLPDenoiser

SYSTEMS = ("S16", "S27")
SUMMARY = "Diffusion of an autoencoder's 16 variables."
NEXT = "pyneural demo ddpm --data digits: the same in pixels"
QUICK = ("--epochs", "150")
LATENT, HIDDEN, STEPS = 16, (256, 256, 256), 200


@dataclass(frozen=True)
class Recipe:
    """The autoencoder of a data set and both trainings."""

    widths: tuple[int, ...]  # of the encoder's hidden layers
    encoding: int  # epochs of the autoencoder
    epochs: int  # of the diffusion
    judge: int  # of the classifier


RECIPES = {
    "digits": Recipe((256, 128), 100, 300, 20),
    "mnist": Recipe((400, 200), 10, 15, 1),
}
BATCH, RATE, AVERAGE, DROPPED, GUIDANCE = 128, 2e-3, 0.99, 0.1, 0.5
_EPOCHS = ", ".join(f"{recipe.epochs} for {name}" for name, recipe in RECIPES.items())
OPTIONS = {
    "--data": option(DATA, "digits", choices=RECIPES, metavar="DATA"),
    "--epochs": whole(f"of the diffusion (default: {_EPOCHS})", None, 1, 10**6),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    images, recipe = SETS[args.data](), RECIPES[args.data]
    epochs = args.epochs or recipe.epochs
    x, held_out = (part.flatten(1) / images.high for part in (images.x, images.held_out))
    print("Latent diffusion of images\n")
    images.print_settings()
    judge = Judge(images, recipe.judge, args.seed)
    autoencoder = _autoencoder(x, recipe)
    with torch.no_grad():
        errors = [float((autoencoder(part) - part).square().mean()) for part in (x, held_out)]
    print_row("square error", f"{errors[0]:.4f} a pixel, {errors[1]:.4f} held out")
    model = LatentDiffusion(
        autoencoder,
        DDPM(
            MLPDenoiser(LATENT, HIDDEN, CLASSES), "cosine", "v", steps=STEPS,
            drop_condition=DROPPED,
        ),
    )  # fmt: skip
    history, seconds = train(model, "diffusion", x, images.classes, epochs, BATCH, RATE, AVERAGE)
    print_row("diffusion", f"{STEPS} steps, cosine schedule, target v, MLP "
              f"{'-'.join(map(str, HIDDEN))}")  # fmt: skip
    print_row("training", f"{counted(epochs, 'epoch')}, batches of {BATCH}, loss "
              f"{history['loss'][-1]:.3f}, {seconds:.0f} s")  # fmt: skip
    judge.print_head()
    predicted: Tensor = model.predict(x)
    judge.print_row("reconstructions", _pixels(images, predicted[-judge.count :]))

    def draw(count: int, asked: Tensor, **options: Any) -> Tensor:
        return _pixels(images, model.sample(count, asked, **options))

    samples, asked, seconds = judge.sampled(draw)
    judge.print_row(f"samples, {STEPS} steps", samples, asked, seconds)
    fewer: dict[str, Any] = {"steps": 20, "eta": 0.0}
    judge.print_row("DDIM, 20 steps", *judge.sampled(draw, **fewer))
    guided: dict[str, Any] = {"guidance": GUIDANCE}
    judge.print_row(f"guidance {GUIDANCE:g}", *judge.sampled(draw, **guided))
    print()
    judge.print_copies(samples)
    panels = {
        "Data": (images.x, images.classes),
        f"Reconstructions from {LATENT} variables": (_pixels(images, predicted), images.classes),
        "Samples by class": (samples, asked),
    }
    grids = [plots.Panel(title, images.grid(*both)) for title, both in panels.items()]
    return plots.image_samples(grids, high=images.high)


def _autoencoder(x: Tensor, recipe: Recipe) -> Autoencoder:
    """The autoencoder of pixels [N, D] from 0 to 1, trained."""
    widths = [x.shape[1], *recipe.widths, LATENT]
    model = Autoencoder(widths, "silu", latent_activation="linear", last_activation="sigmoid")
    model.compile(partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.01), "binary_crossentropy")
    start = time.perf_counter()
    _fit.fit(model, "autoencoder", x, x, epochs=recipe.encoding, batch_size=50)
    seconds = time.perf_counter() - start
    text = "-".join(map(str, widths))
    print_row("autoencoder", f"{text}, {counted(recipe.encoding, 'epoch')}, {seconds:.0f} s")
    return model


def _pixels(images: Images, x: Tensor) -> Tensor:
    """Images [N, 1, H, W] of rows from 0 to 1."""
    return images.rounded(images.high * x.unflatten(1, images.x.shape[1:]))
