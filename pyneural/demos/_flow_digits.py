"""Handwritten digits as 64 whole numbers: bits a dimension of a flow."""

from __future__ import annotations

import argparse
import math
import statistics

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from pyneural import data, plots
from pyneural.demos._flows import Recipe, mean_log_prob, print_table, train
from pyneural.demos._options import counted, print_row
from pyneural.models import NSF, Flow, Gaussianisation
from pyneural.models.flows.lazy import standard_normal

LEVELS, PIXELS = 17, 64
# The weights decay by much, as 1,437 images are soon known by heart.
RECIPE = Recipe(epochs=100, batch=64, rate=3e-3, weight_decay=5.0)
# Bits a dimension of the best of scikit-learn's mixtures of Gaussians, of dequantised images.
MIXTURE = 2.615
SEEDS = 3
COPIES = 20  # of the images, dequantised in different ways: for a mean over the noise
SHOWN = (10, 10)


def run(args: argparse.Namespace) -> object:
    """Trains the flows; returns the figure."""
    (x, _), (new, _) = data.digits_8x8()
    recipe = RECIPE.lasting(args.epochs)
    print("Handwritten digits, learnt by a spline flow\n")
    print_row("images", f"{len(x):,} for training, {len(new):,} held out; 8 x 8, 17 levels")
    print_row("model", "histograms, NSF of 3 transforms, 256 hidden units, 4 bins")
    print_row("training", f"{counted(recipe.epochs, 'epoch')} of AdamW, batches of {RECIPE.batch}")
    generator = torch.Generator().manual_seed(args.seed)
    many, held_out = (_copies(images, generator) for images in (x, new))
    histograms = Gaussianisation(PIXELS, LEVELS)
    histograms.set_from(many[: len(x)])
    independent = Flow(histograms, standard_normal(PIXELS))
    found, seconds = [], 0.0
    for seed in range(args.seed, args.seed + SEEDS):
        torch.manual_seed(seed)
        flow = make(histograms)
        name, validation = f"digits, seed {seed}", held_out[: len(new)]
        history, took = train(flow, name, _batches(x), validation, recipe)
        found.append(_bits(mean_log_prob(flow, held_out)))
        seconds += took
    spread = f"{min(found):.3f}-{max(found):.3f}, {seconds:.0f} s"
    flat = _bits(mean_log_prob(independent, held_out))
    rows = {
        f"flow, mean of {counted(SEEDS, 'seed')}": (statistics.fmean(found), spread),
        "the last one, of the training data": (_bits(mean_log_prob(flow, many)), ""),
        "independent histograms": (flat, ""),
        "mixture of Gaussians": (MIXTURE, "the best found"),
    }
    print_table("bits a dimension", rows)
    count = math.prod(SHOWN)
    with torch.no_grad():
        pictures = {
            "Held-out digits": new[:count],
            f"Samples of the flow, {found[-1]:.2f} bits": _pixels(flow().sample((count,))),
            f"Samples of histograms, {flat:.2f} bits": _pixels(independent().sample((count,))),
        }
    return plots.image_density(
        [_bits(-loss) for loss in history["loss"]],
        [_bits(-loss) for loss in history["val_loss"]],
        {"independent histograms": flat, "mixture of Gaussians": MIXTURE},
        {title: x.unflatten(0, SHOWN).unflatten(-1, (8, 8)) for title, x in pictures.items()},
        high=LEVELS - 1,
    )


def make(histograms: Gaussianisation) -> Flow:
    """The flow: pixels made normal by their histograms, which splines then make independent."""
    splines = NSF(PIXELS, bins=4, transforms=3, hidden_features=[256])
    return Flow([histograms, *splines.transform], standard_normal(PIXELS))


def _batches(x: Tensor) -> DataLoader:
    """Batches of images, each time dequantised anew, so that no noise is learnt by heart."""
    noise = torch.Generator().manual_seed(torch.initial_seed())

    def collate(rows: list[tuple[Tensor]]) -> Tensor:
        return data.dequantise(torch.stack([pixels for (pixels,) in rows]), LEVELS, noise)

    images = TensorDataset(x)
    return DataLoader(images, RECIPE.batch, shuffle=True, drop_last=True, collate_fn=collate)


def _copies(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images, dequantised so many times."""
    return torch.cat([data.dequantise(x, LEVELS, generator) for _ in range(COPIES)])


def _bits(log_prob: float) -> float:
    """Bits a dimension of the pixels, from the log-density of dequantised images in nats."""
    return float(data.bits_per_dimension(torch.tensor(log_prob), PIXELS, LEVELS))


def _pixels(x: Tensor) -> Tensor:
    """Grey levels of dequantised images."""
    return (x * LEVELS).floor().clamp(0, LEVELS - 1)
