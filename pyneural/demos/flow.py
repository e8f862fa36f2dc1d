"""Normalizing flows: densities that are learnt from samples, and sampled.

    log p(x) = log N(f(x); 0, 1) + log |det df/dx|,  f of splines

Trained with Adam and one cycle of the learning rate, on

    toys         the next three, one after the other
    8-gaussians, two-moons, checkerboard
                 100,000 samples of a density in the plane, known exactly
    galaxies     redshift and six magnitudes of 100,000 galaxies, from pzflow
    digits       8 x 8 images of scikit-learn, dequantised; for three seeds

Prints the held-out log-likelihood beside that of simpler models and, where it
is known, the entropy, which is the limit. Writes flow.png: the density beside
the exact one, or samples beside the data.
"""

from __future__ import annotations

import argparse

from pyneural.demos import _flow_digits, _flow_galaxies, _flow_toys
from pyneural.demos._options import option, whole

SYSTEMS = ("S25",)
SUMMARY = "Normalizing flows: points, galaxies, digits."
NEXT = "pyneural demo vae-flow: a flow as the prior of an autoencoder"
QUICK = ("--epochs", "8")
RECIPES = {
    "toys": _flow_toys.RECIPE,
    **dict.fromkeys(_flow_toys.TOYS, _flow_toys.RECIPE),
    "galaxies": _flow_galaxies.RECIPE,
    "digits": _flow_digits.RECIPE,
}
_EPOCHS = ", ".join(f"{RECIPES[name].epochs} for {name}" for name in ("toys", "galaxies", "digits"))
OPTIONS = {
    "--data": option(", ".join(RECIPES), "toys", choices=RECIPES, metavar="DATA"),
    "--epochs": whole(f"passes through the data (default: {_EPOCHS})", None, 1, 10**6),
    "--wheel": option("wheel of pzflow (default: the installed package)", metavar="FILE"),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    if args.wheel is not None and args.data != "galaxies":
        raise ValueError(f"--wheel: expected --data galaxies, got --data {args.data}; leave it out")
    if args.data == "galaxies":
        return _flow_galaxies.run(args)
    if args.data == "digits":
        return _flow_digits.run(args)
    return _flow_toys.run(args, list(_flow_toys.TOYS) if args.data == "toys" else [args.data])
