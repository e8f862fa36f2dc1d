"""Densities in the plane, learnt from samples."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural import plots
from pyneural.data import toys
from pyneural.demos._flows import Recipe, gaussian_log_prob, mean_log_prob, train
from pyneural.demos._options import counted, print_row
from pyneural.models import NSF

TOYS = {
    "8-gaussians": (toys.EightGaussians, (-4.2, 4.2, -4.2, 4.2)),
    "two-moons": (toys.TwoMoons, (-1.6, 2.6, -1.85, 2.35)),
    "checkerboard": (toys.Checkerboard, (-4.4, 4.4, -4.4, 4.4)),
}  # and the rectangle that is shown
RECIPE = Recipe(epochs=20, batch=1000, rate=5e-3)
SAMPLES, HELD_OUT, SHOWN, GRID = 100_000, 50_000, 4_000, 240


def run(args: argparse.Namespace, names: Sequence[str]) -> object:
    """Trains a flow on each of the toys; returns the figure."""
    recipe = RECIPE.lasting(args.epochs)
    print("Densities in the plane, learnt by spline flows\n")
    print_row("samples", f"{SAMPLES:,} for training, {HELD_OUT:,} held out")
    print_row("model", "NSF, 4 transforms of 64-64 hidden units, 16 bins")
    print_row("training", f"{counted(recipe.epochs, 'epoch')} of Adam, batches of {recipe.batch:,}")
    columns = ("flow", "exact density", "entropy", "a Gaussian", "time")
    print("\n  {:<15}{:>9}{:>16}{:>10}{:>13}{:>10}".format("held out, nats", *columns))
    panels = {}
    for name in names:
        torch.manual_seed(args.seed)
        toy, window = TOYS[name][0](), TOYS[name][1]
        x, held_out = toy.sample(SAMPLES, args.seed + 1), toy.sample(HELD_OUT, args.seed + 2)
        flow = NSF(2, bins=16, transforms=4, hidden_features=[64, 64])
        _, seconds = train(flow, name, x, held_out[:5000], recipe)
        loss = -mean_log_prob(flow, held_out)
        exact = -float(toy.log_density(held_out).double().mean())
        gaussian = -gaussian_log_prob(x, held_out)
        print(
            f"  {name:<15}{loss:9.3f}{exact:16.3f}{toy.entropy():10.3f}{gaussian:13.3f}"
            f"{seconds:8.1f} s",
            flush=True,
        )
        panels[f"{name}\n{loss:.3f} nats, exact {exact:.3f}"] = _panel(toy, flow, window)
    print()
    return plots.densities(panels)


@torch.no_grad()
def _panel(
    toy: toys.Toy, flow: NSF, window: tuple[float, float, float, float]
) -> plots.PlaneDensity:
    """Both densities on a grid, and samples with the points that the flow makes them from."""
    left, right, bottom, top = window
    grid = torch.cartesian_prod(
        torch.linspace(bottom, top, GRID), torch.linspace(left, right, GRID)
    ).flip(1)
    exact, found = (
        log_density.exp().unflatten(0, (GRID, GRID))
        for log_density in (toy.log_density(grid), flow.log_prob(grid))
    )
    z: Tensor = flow().base.sample((SHOWN,))
    return plots.PlaneDensity(window, exact, found, z, flow().transform.inv(z))
