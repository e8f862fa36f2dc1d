"""Images of digits in the demo of denoising diffusion: a U-Net, its samplers, measures."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos._image_samples import CLASSES, SETS, Images, Judge, train
from pyneural.demos._options import counted, print_row
from pyneural.models import DDPM, UNetDenoiser


@dataclass(frozen=True)
class Recipe:
    """The network of a data set and its training."""

    width: int
    factors: tuple[int, ...]
    epochs: int
    batch: int
    judge: int  # epochs of the classifier
    rate: float = 2e-3  # the highest


RECIPES = {
    "digits": Recipe(32, (1, 2), 40, 64, 20),
    "mnist": Recipe(16, (1, 2, 2), 1, 64, 1),
}
STEPS, FEWER, AVERAGE, DROPPED, GUIDANCE = 200, (50, 20, 10, 5), 0.99, 0.1, 1.0
SHOWN = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)  # times of the pictures of noising
ASKED = (3, 5, 8)  # classes there


def run(args: argparse.Namespace) -> object:
    """Trains a U-Net on the images of a data set; returns the figure."""
    images, recipe = SETS[args.data](), RECIPES[args.data]
    epochs = args.epochs or recipe.epochs
    network = UNetDenoiser(
        (1, images.size, images.size), recipe.width, recipe.factors, condition=CLASSES
    )
    model = DDPM(
        network, "cosine", "v", steps=STEPS, drop_condition=DROPPED, bounds=(0, images.high)
    )
    print("Denoising diffusion of images\n")
    images.print_settings()
    parameters = sum(p.numel() for p in network.parameters())
    lowest = images.size // network.divisor
    print_row("network", f"U-Net, {recipe.width} channels, attention at {lowest} x {lowest}; "
              f"{parameters:,} parameters")  # fmt: skip
    print_row("diffusion", f"{STEPS} steps, cosine schedule, target v")
    judge = Judge(images, recipe.judge, args.seed)
    history, seconds = train(
        model, "U-Net", images.x, images.classes, epochs, recipe.batch, recipe.rate, AVERAGE
    )
    print_row("training", f"{counted(epochs, 'epoch')}, batches of {recipe.batch}, loss "
              f"{history['loss'][-1]:.3f}, {seconds:.0f} s")  # fmt: skip
    judge.print_head()
    samples, asked, seconds = judge.sampled(model.sample, clip=True)
    distances = {STEPS: judge.print_row(f"all {STEPS} steps", samples, asked, seconds)}
    for steps in FEWER:
        options: dict[str, Any] = {"steps": steps, "eta": 0.0, "clip": True}
        x, asked, seconds = judge.sampled(model.sample, **options)
        distances[steps] = judge.print_row(f"DDIM, {steps} steps", x, asked, seconds)
    options = {"steps": FEWER[0], "eta": 0.0, "clip": True, "guidance": GUIDANCE}
    x, asked, seconds = judge.sampled(model.sample, **options)
    judge.print_row(f"guidance {GUIDANCE:g}, {FEWER[0]} steps", x, asked, seconds)
    print()
    judge.print_copies(samples)
    grid = "Samples by class", images.grid(samples, asked)
    return _figure(model, images, grid, distances, judge, args.seed)


def _figure(
    model: DDPM,
    images: Images,
    grid: tuple[str, Tensor],
    distances: dict[int, float],
    judge: Judge,
    seed: int,
) -> object:
    times = [round(share * STEPS) for share in SHOWN]
    names = [f"$t={t}$" for t in times]
    first = [int((images.classes == k).nonzero()[0]) for k in ASKED]
    ahead = torch.stack([_noised(model, images.x[first], t) for t in times], 1)
    points = model.trajectory(len(ASKED), torch.tensor(ASKED), clip=True)[:, :, 0]
    back = points[[STEPS - t for t in reversed(times)]].transpose(0, 1)
    ways = [
        plots.Panel(r"Noising: $x_t=\alpha_t x_0+\sigma_t\varepsilon$", ahead, names),
        plots.Panel("Denoising, by the ancestral sampler", back, names[::-1]),
    ]
    same = []
    counts = [STEPS, *FEWER]
    for steps in counts:
        torch.manual_seed(seed)
        same.append(model.sample(CLASSES, torch.arange(CLASSES), steps=steps, eta=0.0)[:, 0])
    grids = [
        plots.Panel("Data by class", images.grid(images.x, images.classes)),
        plots.Panel(*grid),
        plots.Panel("DDIM from the same noise", torch.stack(same), rows=[f"{n}" for n in counts]),
    ]
    floor = judge.floor.mean, judge.floor.std
    return plots.image_diffusion(
        ways, grids, dict(sorted(distances.items())), floor, high=images.high
    )


def _noised(model: DDPM, x: Tensor, t: int) -> Tensor:
    """Images [N, H, W] with the noise of a time, in the units of the data."""
    x = (x - model.shift) / model.scale
    x = model.diffuse(x, torch.full((len(x),), t), torch.randn_like(x))
    return (x * model.scale + model.shift)[:, 0]
