"""Flow matching: a velocity that carries noise to data along straight paths.

    x_t = t x_1 + (1 - t) x_0,  x_0 ~ N(0, 1)
    loss = E |x_1 - x_0 - f(x_t, t)|^2
    dx/dt = f from t = 0 to 1 samples, and back it gives the exact log p(x)

Trained with Adam and one cycle of the learning rate, on

    toys         the next three, one after the other
    8-gaussians, two-moons, checkerboard
                 100,000 samples of a density in the plane, known exactly
    galaxies     redshift and six magnitudes of 100,000 galaxies, from pzflow

Prints how often a classifier tells samples from held-out data (C2ST), and the
held-out likelihood beside the entropy, which is the limit. Writes
flow-matching.png: samples beside the data, the learnt density beside the exact
one, and the paths from noise to samples.
"""

from __future__ import annotations

import argparse
from functools import partial

from pyneural.demos._diffusion_vectors import (
    GALAXY_RECIPE,
    TOY_RECIPE,
    Sampler,
    run_galaxies,
    run_toys,
)
from pyneural.demos._flow_toys import TOYS
from pyneural.demos._options import option, whole
from pyneural.models import FlowMatching
from pyneural.models.diffusion.coupling import COUPLINGS

SYSTEMS = ("S27",)
SUMMARY = "Flow matching of points and galaxies."
NEXT = "pyneural demo ddpm: with noise at each step"
QUICK = ("--epochs", "10")
DATA = ("toys", *TOYS, "galaxies")
OPTIONS = {
    "--data": option(", ".join(DATA), "toys", choices=DATA, metavar="DATA"),
    "--coupling": option(
        "noise of a sample: independent, or by optimal_transport within a batch, for straighter "
        "paths", "independent", choices=COUPLINGS, metavar="COUPLING",
    ),
    "--epochs": whole(
        f"passes through the data (default: {TOY_RECIPE.epochs} for toys, {GALAXY_RECIPE.epochs} "
        "for galaxies)", None, 1, 10**6,
    ),
    "--wheel": option("wheel of pzflow (default: the installed package)", metavar="FILE"),
}  # fmt: skip


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    if args.wheel is not None and args.data != "galaxies":
        raise ValueError(f"--wheel: expected --data galaxies, got --data {args.data}; leave it out")
    sampler = Sampler("flow matching", partial(FlowMatching, coupling=args.coupling))
    if args.data == "galaxies":
        return run_galaxies(args, sampler)
    return run_toys(args, list(TOYS) if args.data == "toys" else [args.data], sampler)
