"""Vectors in the demos of models that turn noise into samples: the plane, and galaxies."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyneural import data, plots
from pyneural.data import toys
from pyneural.demos._flow_galaxies import MIXTURE, PAIRS, SHOWN_COLUMNS, colours
from pyneural.demos._flow_toys import TOYS
from pyneural.demos._flows import Recipe, gaussian_log_prob, mean_log_prob, print_table, train
from pyneural.demos._options import counted, print_row
from pyneural.metrics import c2st
from pyneural.models import MLPDenoiser
from pyneural.models.flows.whitening import Whitening
from pyneural.training.callbacks import EMA

TOY_RECIPE = Recipe(epochs=25, batch=256, rate=1e-2)
GALAXY_RECIPE = Recipe(epochs=25, batch=512, rate=5e-3)
TOY_HIDDEN, GALAXY_HIDDEN = (128, 128, 128), (256, 256, 256)
DECAY = 0.999  # of the weights' moving average
SAMPLES, HELD_OUT = 100_000, 10_000  # of a toy
TESTED, GALAXIES_TESTED = 4_000, 3_000  # in C2ST, of each set
MEASURED = 2_000  # galaxies whose likelihood is integrated
SHOWN, PATHS, GRID = 6_000, 120, 140
COARSE = {"rtol": 1e-4, "atol": 1e-4}  # integration of what is drawn or compared


@dataclass(frozen=True)
class Sampler:
    """A model that turns noise into samples."""

    name: str
    make: Callable[[MLPDenoiser], Any]
    options: dict[str, Any] = field(default_factory=dict)  # of its method sample


def run_toys(args: argparse.Namespace, names: Sequence[str], sampler: Sampler) -> object:
    """Trains a model on each of the toys; returns the figure."""
    recipe = TOY_RECIPE.lasting(args.epochs)
    print(f"Densities in the plane, learnt by {sampler.name}\n")
    print_row("samples", f"{SAMPLES:,} for training, {HELD_OUT:,} held out")
    print_row("model", f"perceptron of {_widths(TOY_HIDDEN)} units, averaged weights")
    print_row("training", f"{counted(recipe.epochs, 'epoch')} of Adam, batches of {recipe.batch}")
    print_row("C2ST", f"0.5 is perfect, +- {0.5 / (2 * TESTED) ** 0.5:.3f} by chance")
    print_row("at best", "the accuracy of a classifier that knows both densities")
    columns = ("C2ST", "at best", "nats", "exact density", "entropy", "time")
    print("\n  {:<15}{:>8}{:>9}{:>9}{:>15}{:>10}{:>10}".format("held out", *columns))
    panels = {}
    for name in names:
        torch.manual_seed(args.seed)
        toy, window = TOYS[name][0](), TOYS[name][1]
        x, held_out = toy.sample(SAMPLES, args.seed + 1), toy.sample(HELD_OUT, args.seed + 2)
        model = sampler.make(MLPDenoiser(2, TOY_HIDDEN))
        _, seconds = train(model, name, x, None, recipe, EMA(DECAY))
        samples = model.sample(max(SHOWN, TESTED), **sampler.options)
        score = c2st(held_out[:TESTED], samples[:TESTED])
        best = _best_accuracy(toy, model, held_out[:TESTED], samples[:TESTED])
        loss = -mean_log_prob(model, held_out)
        exact = -float(toy.log_density(held_out).double().mean())
        print(
            f"  {name:<15}{score:8.3f}{best:9.3f}{loss:9.3f}{exact:15.3f}{toy.entropy():10.3f}"
            f"{seconds:8.1f} s",
            flush=True,
        )
        title = f"{name}\nC2ST {score:.3f}, {loss:.3f} nats, exact {exact:.3f}"
        panels[title] = _panel(toy, model, window, samples[:SHOWN], args.seed)
    print()
    return plots.plane_samples(panels)


def _best_accuracy(toy: toys.Toy, model: Any, x: Tensor, samples: Tensor) -> float:
    """How often the likelihood ratio of the two densities tells data from samples.

    No classifier has a higher accuracy, 1/2 plus half of the total variation (Neyman and Pearson),
    and that of C2ST may be lower by much where its small network learns nothing.
    """
    of_data, of_samples = (
        toy.log_density(rows).double() > model.log_prob(rows, **COARSE).double()
        for rows in (x, samples)
    )
    return float(of_data.double().mean() + 1 - of_samples.double().mean()) / 2


@torch.no_grad()
def _panel(
    toy: toys.Toy,
    model: Any,
    window: tuple[float, float, float, float],
    samples: Tensor,
    seed: int,
) -> plots.PlaneSamples:
    """Data beside samples, both densities on a grid, and ways from noise."""
    left, right, bottom, top = window
    grid = torch.cartesian_prod(
        torch.linspace(bottom, top, GRID), torch.linspace(left, right, GRID)
    ).flip(1)
    exact, found = (
        log_density.exp().unflatten(0, (GRID, GRID))
        for log_density in (toy.log_density(grid), model.log_prob(grid, **COARSE))
    )
    shown = toy.sample(SHOWN, seed + 3)
    return plots.PlaneSamples(window, shown, samples, exact, found, model.paths(PATHS))


def run_galaxies(args: argparse.Namespace, sampler: Sampler) -> object:
    """Trains a model on redshifts and magnitudes of galaxies; returns the figure."""
    galaxies = data.galaxies(args.wheel)
    recipe = GALAXY_RECIPE.lasting(args.epochs)
    print(f"Redshift and magnitudes of galaxies, learnt by {sampler.name}\n")
    sizes = " / ".join(f"{len(part):,}" for part in galaxies)
    print_row("galaxies", f"{sizes} for training / validation / test")
    widths = _widths(GALAXY_HIDDEN)
    print_row("model", f"whitening, perceptron of {widths} units, averaged weights")
    print_row("training", f"{counted(recipe.epochs, 'epoch')} of Adam, batches of {recipe.batch}")
    torch.manual_seed(args.seed)
    whitening = Whitening(len(data.GALAXY_COLUMNS))
    whitening.set_from(galaxies.train)
    transform: Any = whitening()
    model = sampler.make(MLPDenoiser(len(data.GALAXY_COLUMNS), GALAXY_HIDDEN))
    _, seconds = train(model, "galaxies", transform(galaxies.train), None, recipe, EMA(DECAY))
    samples = transform.inv(model.sample(len(galaxies.test), **sampler.options))
    score = c2st(galaxies.test[:GALAXIES_TESTED], samples[:GALAXIES_TESTED])
    floor = c2st(galaxies.validation[:GALAXIES_TESTED], galaxies.test[:GALAXIES_TESTED])
    z, ladj = transform.call_and_ladj(galaxies.test[:MEASURED])
    found = mean_log_prob(model, z) + float(ladj[0])
    rows = {
        "C2ST against test galaxies": (score, "0.5 is perfect"),
        "C2ST of validation galaxies": (floor, ""),
        "nats a test galaxy": (found, f"{seconds:.0f} s"),
        "of 50 Gaussians": (MIXTURE, "measured once"),
        "of one Gaussian": (gaussian_log_prob(galaxies.train, galaxies.test), ""),
    }
    print_row("C2ST", f"of {GALAXIES_TESTED:,} samples and as many galaxies")
    print_table("", rows)
    shown = {
        f"{len(galaxies.test):,} test galaxies": colours(galaxies.test),
        f"As many samples of {sampler.name}, C2ST {score:.3f}, {found:.2f} nats a test galaxy":
            colours(samples),
    }  # fmt: skip
    return plots.pairwise(shown, SHOWN_COLUMNS, PAIRS)


def _widths(hidden: Sequence[int]) -> str:
    return "-".join(map(str, hidden))
