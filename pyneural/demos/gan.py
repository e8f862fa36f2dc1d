"""Adversarial networks: a generator against a discriminator.

    D: minimise  -E log D(x) - E log(1 - D(G(z)))  + w/2 E |grad logit(x)|^2
    G: minimise  -E log D(G(z)),  or  E log(1 - D(G(z))),  the minimax loss

one update each in turn, with Adam, on

    ring     eight Gaussians of width 0.02 on a circle of radius 2
    grid     25 Gaussians of width 0.05 on a square grid of distance 2
    digits   8 x 8 images of scikit-learn
    mnist    MNIST, downloaded once

Of the mixtures it prints the modes that 10,000 samples cover, and the share of
them within three standard deviations of one. Then the discriminator alone is
trained until it is sure of all samples; the gradients of both losses are
measured meanwhile, and the generator follows each of them. Of images it prints
the means of D, and how sharp samples are. Writes gan.png: samples over time.
"""

from __future__ import annotations

import argparse

from pyneural.demos import _gan_images, _gan_mixtures
from pyneural.demos._options import option, whole

SYSTEMS = ("S26",)
SUMMARY = "Adversarial networks: ring, grid, digits."
NEXT = "pyneural demo ddpm: samples without an adversary"
QUICK = ("--epochs", "40")
SETS: dict[str, _gan_mixtures.Mixture | _gan_images.Images] = {
    **_gan_mixtures.MIXTURES,
    **_gan_images.SETS,
}
_EPOCHS = ", ".join(f"{one.recipe.epochs} for {name}" for name, one in SETS.items())
OPTIONS = {
    "--data": option(", ".join(SETS), "ring", choices=SETS, metavar="DATA"),
    "--epochs": whole(f"passes through the data (default: {_EPOCHS})", None, 1, 10**6),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    kind = _gan_mixtures if args.data in _gan_mixtures.MIXTURES else _gan_images
    return kind.run(args)
