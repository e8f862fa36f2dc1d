"""Images of handwritten digits, learnt by adversarial networks with convolutions."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyneural import data, plots
from pyneural.demos._gan import Recipe, adam, train
from pyneural.demos._options import counted, print_row
from pyneural.metrics import sharpness
from pyneural.models import GAN, ImageDiscriminator, ImageGenerator

SIDE, SHOWN = 10, 9  # images along an edge of a picture, and of a row over time


@dataclass(frozen=True)
class Images:
    """A data set, the networks for it, and how they are trained."""

    load: Callable[[], Tensor]  # [N, 1, H, W] in [0, 1]
    latent: int
    width: int
    recipe: Recipe

    def model(self, shape: tuple[int, ...]) -> GAN:
        """New networks."""
        generator = ImageGenerator(self.latent, shape, self.width)
        discriminator = ImageDiscriminator(shape, self.width)
        return GAN(generator, discriminator, penalty="r1", weight=self.recipe.weight)


def digits() -> Tensor:
    """The native digits for training."""
    (x, _), _ = data.digits_8x8()
    return x.unflatten(1, (1, 8, 8)) / 16


def mnist() -> Tensor:
    """MNIST's images for training."""
    (x, _), _ = data.mnist()
    return x.unsqueeze(1)


SETS = {
    "digits": Images(digits, 32, 32, Recipe(120, 64, (2e-3, 2e-3), weight=1.0, average=0.995)),
    "mnist": Images(mnist, 64, 16, Recipe(2, 64, (1e-3, 1e-3), weight=1.0, average=0.995)),
}


def run(args: argparse.Namespace) -> object:
    """Trains on images; returns the figure."""
    images = SETS[args.data]
    recipe, x = images.recipe.lasting(args.epochs), images.load()
    height, width = x.shape[2:]
    model = images.model(tuple(x.shape[1:]))
    print("Adversarial networks of handwritten digits\n")
    print_row("images", f"{len(x):,} for training, {height} x {width}")
    for name, part in (("generator", model.generator), ("discriminator", model.discriminator)):
        count = sum(parameter.numel() for parameter in part.parameters())
        print_row(name, f"convolutions, {count:,} parameters")
    print_row("training", f"{counted(recipe.epochs, 'epoch')} of Adam, batches of {recipe.batch}")
    z, seen = model.noise(SHOWN), dict[str, Tensor]()

    def look(step: int) -> None:
        with torch.no_grad():
            seen[f"step {step:,}"] = model(z)

    generator, discriminator = map(adam, recipe.rates)
    model.compile({"generator": generator, "discriminator": discriminator})
    history, seconds = train(args.data, model, x, recipe, look)
    print_row("time", f"{seconds:.0f} s")
    print_row("mean of D", f"{history['d_real'][-1]:.2f} on data, "
              f"{history['d_fake'][-1]:.2f} on samples")  # fmt: skip
    count = min(len(x), 2000)
    samples = model.sample(count)
    sharp = float(sharpness(samples).mean() / sharpness(x).mean())
    print_row("samples", f"variance of the Laplacian {sharp:.2f} of the data's\n")
    panels = {
        "Data": x[: SIDE**2].unflatten(0, (SIDE, SIDE)).squeeze(2),
        "Samples": samples[: SIDE**2].unflatten(0, (SIDE, SIDE)).squeeze(2),
    }
    over_time = {name: part.squeeze(1) for name, part in seen.items()}
    return plots.adversarial_images(history.history, over_time, panels)
