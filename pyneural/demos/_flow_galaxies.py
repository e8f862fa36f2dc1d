"""Redshifts and magnitudes of galaxies: a density in seven dimensions."""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from pyneural import data, plots
from pyneural.demos._flows import Recipe, gaussian_log_prob, mean_log_prob, print_table, train
from pyneural.demos._options import counted, print_row
from pyneural.models import NSF

RECIPE = Recipe(epochs=60, batch=512, rate=1e-2)
# Of scikit-learn's mixture with full covariances, of standardised columns, after 64 iterations.
MIXTURE = 5.20  # nats a test galaxy
SHOWN_COLUMNS = ("redshift", "$i$ (magnitude)", "$u - g$", "$g - r$", "$r - i$")
PAIRS = ((0, 1), (0, 3), (0, 4), (3, 4))


def run(args: argparse.Namespace) -> object:
    """Trains the flow; returns the figure."""
    galaxies = data.galaxies(args.wheel)
    recipe = RECIPE.lasting(args.epochs)
    print("Redshift and magnitudes of galaxies, learnt by a spline flow\n")
    sizes = " / ".join(f"{len(part):,}" for part in galaxies)
    print_row("galaxies", f"{sizes} for training / validation / test")
    print_row("model", "whitening, NSF of 5 transforms, 128-128 hidden units, 8 bins")
    print_row("training", f"{counted(recipe.epochs, 'epoch')} of Adam, batches of {RECIPE.batch:,}")
    torch.manual_seed(args.seed)
    flow = NSF(len(data.GALAXY_COLUMNS), transforms=5, hidden_features=[128, 128])
    _, seconds = train(flow, "galaxies", galaxies.train, galaxies.validation, recipe)
    found = mean_log_prob(flow, galaxies.test)
    gaussian = gaussian_log_prob(galaxies.train, galaxies.test)
    rows = {
        "flow": (found, f"{seconds:.0f} s"),
        "the same flow, of the training data": (mean_log_prob(flow, galaxies.train), ""),
        "50 Gaussians": (MIXTURE, "measured once"),
        "one Gaussian": (gaussian, ""),
    }
    print_table("nats a test galaxy", rows, digits=2)
    everything = torch.cat(galaxies)
    with torch.no_grad():
        samples = flow().sample((len(everything),))
    shown = {
        f"{len(everything):,} galaxies": colours(everything),
        f"As many samples of the flow, {found:.2f} nats a test galaxy": colours(samples),
    }
    return plots.pairwise(shown, SHOWN_COLUMNS, PAIRS)


def colours(x: Tensor) -> Tensor:
    """The columns that are shown, of redshift and magnitudes u, g, r, i, z, y, [N, 7]."""
    redshift, u, g, r, i, *_ = x.T
    return torch.stack([redshift, i, u - g, g - r, r - i], 1)
