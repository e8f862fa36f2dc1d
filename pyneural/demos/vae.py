"""A variational autoencoder of handwritten digits, counts from 0 to 16.

    p(x|z) binomial with 16 trials a pixel,  p(z) = N(0, 1)
    64-256-256-z-256-256-64, silu, z of 2 and of 12 components

Trained with AdamW on the native 8 x 8 images of scikit-learn, or on binarised
MNIST with 400 hidden units and z of 2 and of 20 components; beta rises to 1
over the first tenth. Prints the evidence lower bound (ELBO) on held-out
images, in nats an image and bits a pixel, the tighter importance-weighted
bound, and the likelihood of independent pixels for comparison; how q(z) fits
the prior; and how sharp samples are beside the data. On the native
digits the larger model is trained from three seeds; +- is the standard
deviation over them. Writes vae.png: bound, reconstructions, samples, latent
plane, and straight lines between digits.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import torch

from pyneural import plots
from pyneural.demos import _vae
from pyneural.demos._options import option, print_row, whole
from pyneural.metrics import sharpness
from pyneural.models import VariationalAutoencoder, aggregate_posterior

SYSTEMS = ("S24",)
SUMMARY = "A variational autoencoder of digits."
NEXT = "pyneural demo vae-flow: a flow as its prior"
QUICK = ("--epochs", "30")
LATENT = {"digits": (2, 12), "mnist": (2, 20)}
EPOCHS = {"digits": 120, "mnist": 10}
MEASURED = 1_437  # images in the measures of q(z) and of sharpness, at most
OPTIONS = {
    "--data": option(_vae.DATA, "digits", choices=_vae.SETS, metavar="DATA"),
    "--epochs": whole(
        f"passes through the images (default: {EPOCHS['digits']} for digits, "
        f"{EPOCHS['mnist']} for mnist)", None, 1, 10**6,
    ),
}  # fmt: skip


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    images = _vae.SETS[args.data]()
    held_out, epochs = images.held_out, args.epochs or EPOCHS[args.data]
    small, large = LATENT[args.data]
    print("Variational autoencoder of handwritten digits\n")
    _vae.print_settings(images, epochs)
    print(f"\n  {'':<19}{'nats an image':>16}{'bits a pixel':>14}{'KL (nats)':>11}{'time':>9}")
    _print_bound("independent pixels", [_independent(images)], images)
    plane, history, seconds = _vae.train(f"{small} variables", images, small, epochs, args.seed)
    curves = {f"{small} latent variables": (history["elbo"], history["val_elbo"])}
    elbo, _ = _vae.bounds(plane, held_out)
    kl = f"{history['val_kl'][-1]:11.1f}{seconds:7.1f} s"
    _print_bound(f"ELBO, {small:2d} latent", [elbo], images, kl)
    trained = [
        _vae.train(f"{large} variables, seed {seed}", images, large, epochs, seed)
        for seed in range(args.seed, args.seed + images.seeds)
    ]
    best, history, seconds = trained[0]
    curves[f"{large} latent variables"] = history["elbo"], history["val_elbo"]
    elbos, tighter = zip(*(_vae.bounds(model, held_out) for model, *_ in trained), strict=True)
    kl = f"{history['val_kl'][-1]:11.1f}{seconds:7.1f} s"
    _print_bound(f"ELBO, {large} latent", elbos, images, kl)
    _print_bound(f"K = {_vae.BOUND}, {large} latent", tighter, images)
    print()
    _print_measures(best, images)
    return _figure(images, curves, plane, best)


def _figure(
    images: _vae.Images,
    curves: dict[str, tuple[list[float], list[float]]],
    plane: VariationalAutoencoder,
    best: VariationalAutoencoder,
) -> object:
    shown = images.held_out[:50].unflatten(0, (5, 10))
    rows = [row for part in shown[[0, 1, 3, 4]] for row in (part, best.reconstruct(part))]
    lines = best.interpolate(images.held_out[:9], images.held_out[20:29], 10).transpose(0, 1)
    panels = {
        f"Data, and reconstructions from {best.latent} variables": torch.stack(rows),
        "Samples: mean of $p(x|z)$, $z$ from $p(z)$": best.sample(100, mean=True).unflatten(
            0, (10, 10)
        ),
        f"The plane of {plane.latent} variables, decoded": plane.latent_plane(15)[1],
        f"Straight lines between digits, {best.latent} variables": lines,
    }
    pictures = {title: images.unflattened(part) for title, part in panels.items()}
    means, classes = plane.encode(images.x[:MEASURED]).mean, images.classes[:MEASURED]
    return plots.latent_variables(curves, pictures, means, classes, high=images.levels)


def _independent(images: _vae.Images) -> float:
    """Mean log-likelihood, in nats, of independent pixels with the histograms of the data.

    Each grey level of a pixel was seen once more than it was (Laplace's rule of succession).
    """
    seen = torch.stack([(images.x == level).sum(0) + 1.0 for level in range(images.levels + 1)])
    share = (seen / seen.sum(0)).log()  # [levels + 1, pixels]
    return float(share.gather(0, images.held_out.long()).sum(1).mean())


def _print_bound(name: str, nats: Sequence[float], images: _vae.Images, rest: str = "") -> None:
    mean = sum(nats) / len(nats)
    bits = -mean / (images.pixels * math.log(2))
    print(f"  {name:<19}{_vae.with_spread(nats):>16}{bits:14.3f}{rest}", flush=True)


def _print_measures(model: VariationalAutoencoder, images: _vae.Images) -> None:
    x = images.x[:MEASURED]
    found = aggregate_posterior(model, x)
    told = f"tells {found.mutual_information:.2f} of log N = {math.log(len(x)):.2f} nats"
    print_row("q(z)", f"{found.kl:.2f} nats from the prior; z {told}")
    of_data = sharpness(images.unflattened(x)).mean()
    for name, mean in (("samples", False), ("their means", True)):
        share = sharpness(images.unflattened(model.sample(len(x), mean=mean))).mean() / of_data
        print_row(name, f"variance of the Laplacian {share:.2f} of the data's")
