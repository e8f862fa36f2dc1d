"""An encoder from 5 to 2 dimensions, compared with principal components.

A damped oscillation is read at five times. The readings depend on only two
parameters, frequency and damping, but nonlinearly. An autoencoder 5-32-2-32-5,
a linear autoencoder 5-2-5 and principal component analysis (PCA) each reduce
the five readings to two. Prints the relative reconstruction error on new
samples and the angle between the planes of the linear autoencoder and of PCA;
writes latent-plane.png.
"""

from __future__ import annotations

import argparse
import math
from functools import partial

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos import _fit, _options
from pyneural.models import Autoencoder, damped_oscillation

SYSTEMS = ("S17",)
SUMMARY = "An encoder from 5 to 2 dimensions, and PCA."
TIMES, SAMPLES, SHOWN = (0.5, 1.0, 1.5, 2.0, 2.5), 2000, 4
ADAM = partial(torch.optim.Adam, lr=3e-3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options."""
    _options.add_whole(parser, "--epochs", 300, "passes through the samples", low=1)


def run(args: argparse.Namespace) -> int:
    """Runs the demo; returns 0."""
    print("Five readings of a damped oscillation, encoded in two variables\n")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        *_, x = _draw(SAMPLES)
        frequency, damping, new = _draw(SAMPLES)
        mean = x.mean(0)
        axes = torch.linalg.svd(x - mean, full_matrices=False).Vh[:2]
        linear = Autoencoder([5, 2], "linear")
        curved = Autoencoder([5, 32, 2], "tanh", latent_activation="linear")
        for name, model in (("5-2-5", linear), ("5-32-2-32-5", curved)):
            model.compile(ADAM, "mse")
            _fit.fit(model, name, x, x, epochs=args.epochs, batch_size=50)
    by_pca = (new - mean) @ axes.T @ axes + mean
    with torch.no_grad():
        errors = [
            ("PCA", _error(by_pca, new)),
            ("linear", _error(linear(new), new)),
            ("5-32-2-32-5", _error(curved(new), new)),
        ]
        planes = [
            ("Plane of PCA", (new - mean) @ axes.T),
            ("Latent plane of 5-32-2-32-5", curved.encode(new)),
        ]
    decoder = torch.linalg.qr(next(linear.decoder.parameters()).detach()).Q  # [5, 2]
    angle = math.degrees(math.acos(min(1.0, float(torch.linalg.svdvals(axes @ decoder).min()))))
    figure = plots.latent_planes(
        TIMES,
        new[:SHOWN],
        planes,
        [(r"frequency $\omega$", frequency), (r"damping $\gamma$", damping)],
        errors,
    )
    names = ("PCA", "linear 5-2-5", "5-32-2-32-5")
    _options.print_rows(
        [
            ("samples", f"{SAMPLES:,} for training, as many new ones for the errors"),
            *((n, f"{e:.1e} relative L2 error") for n, (_, e) in zip(names, errors, strict=True)),
            ("angle", f"{angle:.2f} degrees between the planes of PCA and linear autoencoder"),
        ]
    )
    _options.save_picture(figure, args.out / "latent-plane.png")
    return 0


def _draw(samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Frequency, damping and readings of random oscillations."""
    frequency, damping = 2 + 3 * torch.rand(samples), 0.6 * torch.rand(samples)
    return frequency, damping, damped_oscillation(frequency, damping, TIMES)


def _error(predicted: Tensor, exact: Tensor) -> float:
    return float((predicted - exact).norm() / exact.norm())
