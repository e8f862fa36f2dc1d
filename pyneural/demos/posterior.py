"""Simulation-based inference: the posterior of a simulator, and its calibration.

    theta ~ U(-1, 1)^2,  x ~ simulator(theta),  q(theta | x) a spline flow
    loss = -mean log q(theta | x)

Two moons, the task of the benchmark sbibm: two crescents, of which the exact
posterior is known. A flow learns it from 10,000 simulations, and another one,
trained for too long, from 200. Prints how well samples are told from exact
ones (C2ST, 0.5 is best), the distance of the coverage from its level (TARP),
how often 90 % regions contain the truth, and the level that a conformal
correction replaces 90 % by. Writes posterior.png: samples, coverage, ranks.
The second flow is far too narrow, which TARP with random points hardly sees.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from pyneural import plots
from pyneural.data import TwoMoonsPosterior
from pyneural.demos import _fit
from pyneural.demos._options import counted, option, print_row, whole
from pyneural.metrics import (
    Coverage,
    c2st,
    conformal_level,
    expected_coverage,
    rank_uniformity,
    sbc_ranks,
    tarp,
)
from pyneural.models import NSF, NeuralPosterior
from pyneural.training.callbacks import EarlyStopping, TorchScheduler

SYSTEMS = ("S25",)
SUMMARY = "Posterior of a simulator, with calibration."
NEXT = "pyneural demo compare: which density estimator is right"
QUICK = ("--simulations", "2000", "--epochs", "40", "--observations", "1")
TASK = TwoMoonsPosterior()
FEW, LONGER = 200, 15  # simulations of a flow that is to be too narrow, and times the epochs
LEVEL = 0.9
NEW = 1000  # simulations to correct the level by, and as many to measure
SAMPLES = 200  # of the posterior of each of these, for TARP and ranks
EXACT = 1000  # samples of the exact posterior of an observation, for C2ST
SHOWN = 4000  # samples in a picture
RATE, BATCH = 3e-3, 100
OPTIONS = {
    "--simulations": whole("simulations to train with", 10_000, 1000, 10**6),
    "--epochs": whole("passes through the simulations", 60, 1, 10**6),
    "--observations": whole("observations that C2ST is measured on", 10, 1, 10),
    "--sbibm": option("wheel of sbibm, for its observations and reference samples", metavar="FILE"),
}


class Trust(NamedTuple):
    """What is measured of a posterior on new simulations."""

    tarp: Coverage
    before: Coverage
    after: Coverage  # of regions of corrected level
    level: float  # that replaces LEVEL
    ranks: Tensor  # [N, 2]


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    generator = torch.Generator().manual_seed(args.seed)
    cases = _observations(args, generator)
    print("Posterior of the two moons simulator\n")
    print_row("training", f"{counted(args.epochs, 'epoch')} of AdamW, spline flow of 6 transforms")
    print_row("C2ST", f"{counted(len(cases), 'observation')}, {len(cases[0][1]):,} samples of each")
    print_row("calibration", f"{NEW:,} new simulations to correct the level, {NEW:,} to measure\n")
    print(f"  {'simulations':<14}{'C2ST':>7}{'TARP':>8}{'in 90 %':>10}", end="")
    print(f"{'corrected':>12}{'then in':>10}{'time':>10}", flush=True)
    models, found = {}, {}
    for count in (args.simulations, FEW):
        start = time.perf_counter()
        model = _train(*_simulate(count, generator), args.epochs)
        seconds = time.perf_counter() - start
        score = sum(c2st(exact, model.sample(x, len(exact))) for x, exact in cases) / len(cases)
        trust = _trust(model, generator)
        place = round(LEVEL * (len(trust.before.levels) - 1))
        held, then = (float(curve.coverage[place]) for curve in (trust.before, trust.after))
        row = f"  {count:<14,}{score:7.3f}{trust.tarp.deviation:8.3f}{held:10.1%}"
        print(f"{row}{trust.level:12.1%}{then:10.1%}{seconds:8.1f} s", flush=True)
        name = counted(count, "simulation")
        models[name], found[name] = model, trust
    print()
    for name, trust in found.items():
        p = " and ".join(f"{one:.2g}" for one in rank_uniformity(trust.ranks, SAMPLES).tolist())
        print_row("ranks", f"uniform with p = {p}, {name}")
    return _picture(models, found)


def _simulate(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Parameters of the prior and their data, [count, 2] each."""
    theta = TASK.prior(count, generator)
    return theta, TASK.simulate(theta, generator)


def _observations(
    args: argparse.Namespace, generator: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """Data and exact samples of each observation."""
    if args.sbibm is not None:
        numbers = range(1, args.observations + 1)
        read = [TASK.reference(number, args.sbibm) for number in numbers]
        return [(one.observation, one.samples) for one in read]
    _, data = _simulate(args.observations, generator)
    return [(x, TASK.sample_posterior(x, EXACT, generator)) for x in data]


def _train(theta: Tensor, x: Tensor, epochs: int) -> NeuralPosterior:
    """The flow, at its best on simulations held out; of few simulations, overtrained."""
    flow = NSF(
        2, context=2, transforms=6, hidden_features=[64, 64], activation=torch.nn.SiLU,
        bounds=[(-1, 1), (-1, 1)],
    )  # fmt: skip
    posterior = NeuralPosterior(flow)
    posterior.compile(partial(torch.optim.AdamW, lr=RATE), clip_norm=5.0)
    name = counted(len(theta), "simulation")
    if len(theta) == FEW:
        _fit.fit(posterior, name, theta, x, batch_size=BATCH, epochs=LONGER * epochs)
        return posterior
    cosine = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs)
    _fit.fit(
        posterior, name, theta, x, TorchScheduler(cosine),
        EarlyStopping(patience=epochs, restore_best_weights=True),
        batch_size=BATCH, epochs=epochs, validation_split=0.1,
    )  # fmt: skip
    return posterior


def _trust(model: NeuralPosterior, generator: torch.Generator) -> Trust:
    """Coverage and ranks on new simulations, before and after the correction by others."""
    others = model.credible_level(*_simulate(NEW, generator))
    theta, x = _simulate(NEW, generator)
    measured, samples = model.credible_level(theta, x), model.sample(x, SAMPLES)
    before = expected_coverage(measured)
    wanted = before.levels.tolist()
    inside = [float((measured <= conformal_level(others, a)).double().mean()) for a in wanted[1:-1]]
    after = Coverage(before.levels, torch.tensor([0.0, *inside, 1.0], dtype=torch.float64))
    level = conformal_level(others, LEVEL)
    return Trust(tarp(theta, samples), before, after, level, sbc_ranks(theta, samples))


def _picture(models: dict[str, NeuralPosterior], found: dict[str, Trust]) -> object:
    """Samples for x = 0, where both moons are whole, coverage and ranks."""
    x, corner, width = torch.zeros(2), (-0.6, -0.6), 1.2
    side = torch.linspace(corner[0], corner[0] + width, 300)
    grid = torch.cartesian_prod(side, side)
    samples, regions = {"Exact posterior for $x = (0, 0)$": TASK.sample_posterior(x, SHOWN)}, {}
    for name, model in models.items():
        title, level = f"Flow, {name}", found[name].level
        samples[title] = model.sample(x, SHOWN)
        inside = model.log_prob(grid, x) - model.density_threshold(x, level)
        label = f"{LEVEL:.0%} region, corrected to {level:.1%}"
        regions[title] = inside.unflatten(0, (len(side), len(side))), label
    few = counted(FEW, "simulation")
    coverage = {name: trust.before[:] for name, trust in found.items()}
    coverage[f"{few}, corrected"] = found[few].after[:]
    curves = {
        "Coverage of regions of highest density": coverage,
        "Coverage of balls around random points (TARP)": {
            name: trust.tarp[:] for name, trust in found.items()
        },
    }
    ranks = {name: trust.ranks[:, 0] for name, trust in found.items()}
    return plots.posteriors(samples, regions, corner, width, curves, ranks, SAMPLES)
