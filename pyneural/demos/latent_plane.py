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

from pyneural import optim, plots
from pyneural.demos import _fit
from pyneural.demos._options import print_row, whole
from pyneural.models import Autoencoder, damped_oscillation

SYSTEMS = ("S17",)
SUMMARY = "An encoder from 5 to 2 dimensions, and PCA."
NEXT = "pyneural demo vae: a latent space with a density"
QUICK = ("--epochs", "60")
TIMES, SAMPLES, SHOWN = (0.5, 1.0, 1.5, 2.0, 2.5), 2000, 4
ADAM = partial(optim.Adam, lr=3e-3)
OPTIONS = {"--epochs": whole("passes through the samples", 300, low=1)}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    print("Five readings of a damped oscillation, encoded in two variables\n")
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
        errors = [_error(found, new) for found in (by_pca, linear(new), curved(new))]
        planes = [("Plane of PCA", (new - mean) @ axes.T),
                  ("Latent plane of 5-32-2-32-5", curved.encode(new))]  # fmt: skip
    decoder = torch.linalg.qr(next(linear.decoder.parameters()).detach()).Q  # [5, 2]
    angle = math.degrees(math.acos(min(1.0, float(torch.linalg.svdvals(axes @ decoder).min()))))
    print_row("samples", f"{SAMPLES:,} for training, as many new ones for the errors")
    for name, error in zip(("PCA", "linear 5-2-5", "5-32-2-32-5"), errors, strict=True):
        print_row(name, f"{error:.1e} relative L2 error")
    print_row("angle", f"{angle:.2f} degrees between the planes of PCA and linear autoencoder")
    causes = [(r"frequency $\omega$", frequency), (r"damping $\gamma$", damping)]
    bars = zip(("PCA", "linear", "5-32-2-32-5"), errors, strict=True)
    return plots.latent_planes(TIMES, new[:SHOWN], planes, causes, list(bars))


def _draw(samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Frequency, damping and readings of random oscillations."""
    frequency, damping = 2 + 3 * torch.rand(samples), 0.6 * torch.rand(samples)
    return frequency, damping, damped_oscillation(frequency, damping, TIMES)


def _error(predicted: Tensor, exact: Tensor) -> float:
    return float((predicted - exact).norm() / exact.norm())
