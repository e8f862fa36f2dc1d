"""A variational autoencoder of handwritten digits, counts from 0 to 16.

    p(x|z) binomial with 16 trials a pixel,  p(z) = N(0, 1)
    64-256-256-z-256-256-64, silu, z of 2 and of 12 components

Trained with AdamW on the native 8 x 8 images of scikit-learn; beta rises to 1
over the first 20 epochs. Prints the evidence lower bound (ELBO) on held-out
images, in nats an image and bits a pixel, the tighter importance-weighted
bound, and the likelihood of independent pixels for comparison; how q(z) fits
the prior; and how sharp samples are beside the data. Writes vae.png: bound,
reconstructions, samples, latent plane, and straight lines between digits.
"""

from __future__ import annotations

import argparse
import math
import time
from functools import partial

import torch
from torch import Tensor

from pyneural import data, plots
from pyneural.demos import _fit
from pyneural.demos._options import counted, print_row, whole
from pyneural.metrics import sharpness
from pyneural.models import (
    BinomialLikelihood,
    VariationalAutoencoder,
    aggregate_posterior,
)
from pyneural.training import History

SYSTEMS = ("S24",)
SUMMARY = "A variational autoencoder of digits."
LEVELS, PIXELS, HIDDEN = 16, 64, (256, 256)
LATENT = (2, 12)
BOUND = 500  # samples of the importance-weighted bound
# The weight decay is for 1,437 images, which a network of this size learns by heart.
ADAMW = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.3)
OPTIONS = {"--epochs": whole("passes through the images", 200, 1, 10**6)}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    (x, classes), (held_out, _) = data.digits_8x8()
    print("Variational autoencoder of handwritten digits\n")
    print_row("images", f"{len(x):,} for training, {len(held_out):,} held out, 8 x 8")
    print_row("training", f"{counted(args.epochs, 'epoch')} of AdamW, batches of 50")
    print(f"\n  {'':<19}{'nats an image':>14}{'bits a pixel':>14}{'KL (nats)':>11}{'time':>9}")
    _print_bound("independent pixels", _independent(x, held_out))
    models, curves = [], {}
    for latent in LATENT:
        torch.manual_seed(args.seed)
        name = f"{latent} latent variables"
        model, history, seconds = _train(name, latent, x, held_out, args.epochs)
        kl = f"{history['val_kl'][-1]:11.1f}{seconds:7.1f} s"
        _print_bound(f"ELBO, {latent:2d} latent", history["val_elbo"][-1], kl)
        models.append(model)
        curves[name] = history["elbo"], history["val_elbo"]
    plane, best = models
    with torch.no_grad():
        _print_bound(
            f"K = {BOUND}, {LATENT[-1]} latent", float(best.log_prob(held_out, BOUND).mean())
        )
    print()
    _print_measures(best, x)
    shown = held_out[:10]
    lines = best.interpolate(held_out[:9], held_out[20:29], 10).transpose(0, 1)
    samples = best.sample(100, mean=True)
    panels = {
        f"Data, and reconstructions from {LATENT[-1]} variables": torch.stack(
            [row for part in (shown, held_out[10:20], held_out[30:40], held_out[40:50])
             for row in (part, best.reconstruct(part))]
        ),
        "Samples: mean of $p(x|z)$, $z$ from $p(z)$": samples.unflatten(0, (10, 10)),
        "The plane of 2 variables, decoded": plane.latent_plane(15)[1],
        f"Straight lines between digits, {LATENT[-1]} variables": lines,
    }  # fmt: skip
    images = {title: part.unflatten(-1, (8, 8)) for title, part in panels.items()}
    return plots.latent_variables(curves, images, plane.encode(x).mean, classes, high=LEVELS)


def _train(
    name: str, latent: int, x: Tensor, held_out: Tensor, epochs: int
) -> tuple[VariationalAutoencoder, History, float]:
    """The model with so many latent variables, its curves and the time in s."""
    model = VariationalAutoencoder(
        [PIXELS, *HIDDEN, latent],
        BinomialLikelihood(LEVELS),
        activation="silu",
        warm_up=20,
        unit="epoch",
    )
    model.compile(ADAMW)
    start = time.perf_counter()
    history = _fit.fit(model, name, x, None, validation_data=held_out, epochs=epochs, batch_size=50)
    return model, history, time.perf_counter() - start


def _independent(x: Tensor, held_out: Tensor) -> float:
    """Mean log-likelihood, in nats, of independent pixels with the histograms of the data.

    Each grey level of a pixel was seen once more than it was (Laplace's rule of succession).
    """
    levels = torch.arange(LEVELS + 1.0)
    seen = (x[:, :, None] == levels).sum(0) + 1.0  # [pixels, levels]
    share = (seen / seen.sum(1, keepdim=True)).log()
    rows = held_out.long().T  # [pixels, N]
    return float(share.gather(1, rows).sum(0).mean())


def _print_bound(name: str, nats: float, rest: str = "") -> None:
    bits = -nats / (PIXELS * math.log(2))
    print(f"  {name:<19}{nats:14.1f}{bits:14.3f}{rest}", flush=True)


def _print_measures(model: VariationalAutoencoder, x: Tensor) -> None:
    found = aggregate_posterior(model, x)
    told = f"tells {found.mutual_information:.2f} of log N = {math.log(len(x)):.2f} nats"
    print_row("q(z)", f"{found.kl:.2f} nats from the prior; z {told}")
    of_data = sharpness(x.unflatten(1, (8, 8))).mean()
    for name, mean in (("samples", False), ("their means", True)):
        images = model.sample(len(x), mean=mean).unflatten(1, (8, 8))
        share = sharpness(images).mean() / of_data
        print_row(name, f"variance of the Laplacian {share:.2f} of the data's")
