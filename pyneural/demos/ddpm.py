"""Denoising diffusion: samples made of noise, step by step.

    x_t = alpha_t x_0 + sigma_t eps,  loss = E |v - f(x_t, t, class)|^2
    v = alpha_t eps - sigma_t x_0,  cosine schedule

Trained with one cycle of the learning rate and a moving average of the
weights, on

    digits       8 x 8 images of scikit-learn, by a small U-Net with attention,
                 which is told the class of nine images in ten
    mnist        28 x 28 images, downloaded once, likewise
    toys         the next three, one after the other, by an MLP
    8-gaussians, two-moons, checkerboard
                 100,000 samples of a density in the plane, known exactly
    galaxies     redshift and six magnitudes of 100,000 galaxies, from pzflow

Samples of images, from the ancestral sampler with all steps, from DDIM with
fewer, and with guidance by the class, are measured with a classifier that is
trained on the same images: Frechet distance of its features beside that of
two halves of the data, classes found, share of which it is confident, share
of the class that was asked for. Of vectors it prints how often a classifier
tells samples from held-out data (C2ST), and the held-out likelihood. Writes
ddpm.png: noising, denoising, samples beside data, and DDIM from the same
noise; or samples, densities and paths.
"""

from __future__ import annotations

import argparse

from pyneural.demos import _ddpm_images
from pyneural.demos._diffusion_vectors import (
    GALAXY_RECIPE,
    TOY_RECIPE,
    Sampler,
    run_galaxies,
    run_toys,
)
from pyneural.demos._flow_toys import TOYS
from pyneural.demos._options import option, whole
from pyneural.models import DDPM, MLPDenoiser

SYSTEMS = ("S27",)
SUMMARY = "Denoising diffusion: digits, galaxies."
NEXT = "pyneural demo flow-matching: another way from noise to data"
QUICK = ("--epochs", "20")
DATA = (*_ddpm_images.RECIPES, "toys", *TOYS, "galaxies")
EPOCHS = {
    **{name: recipe.epochs for name, recipe in _ddpm_images.RECIPES.items()},
    "toys": TOY_RECIPE.epochs,
    "galaxies": GALAXY_RECIPE.epochs,
}
STEPS, SAMPLED = 1000, 250  # of vectors: T, and the steps of the sampler
OPTIONS = {
    "--data": option(", ".join(DATA), "digits", choices=DATA, metavar="DATA"),
    "--epochs": whole(
        "passes through the data (default: "
        f"{', '.join(f'{count} for {name}' for name, count in EPOCHS.items())})", None, 1, 10**6,
    ),
    "--wheel": option("wheel of pzflow (default: the installed package)", metavar="FILE"),
}  # fmt: skip


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    if args.wheel is not None and args.data != "galaxies":
        raise ValueError(f"--wheel: expected --data galaxies, got --data {args.data}; leave it out")
    if args.data in _ddpm_images.RECIPES:
        return _ddpm_images.run(args)
    sampler = Sampler("denoising diffusion", _of_vectors, {"steps": SAMPLED})
    if args.data == "galaxies":
        return run_galaxies(args, sampler)
    return run_toys(args, list(TOYS) if args.data == "toys" else [args.data], sampler)


def _of_vectors(denoiser: MLPDenoiser) -> DDPM:
    return DDPM(denoiser, "cosine", "v", steps=STEPS)
