"""Simulation-based inference: the posterior of a simulator, and whether to trust it.

    theta ~ U(-1, 1)^2,  x ~ simulator(theta),  q(theta | x) a spline flow
    loss = -mean log q(theta | x)

Two moons, the task of the benchmark sbibm: two crescents, of which the exact
posterior is known. A flow learns it from 10,000 simulations, another one,
trained for too long, from 500. Prints how well samples are told from exact ones
(C2ST, 0.5 is best), the distance of the coverage from its level (TARP), how
often 90 % regions contain the truth, and the level that a conformal correction
replaces 90 % by; writes posterior.png: samples, coverage and ranks of the truth.
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
TASK = TwoMoonsPosterior()
FEW = 500  # simulations of the flow that is to be too narrow
LEVEL = 0.9
NEW = 1000  # simulations to correct the level by, and as many to measure
SAMPLES = 200  # of the posterior of each of these
OBSERVATIONS, EXACT = 10, 1000  # that C2ST is measured on, and exact samples of each
RATE, BATCH = 3e-3, 100
OPTIONS = {
    "--simulations": whole("simulations to train with", 10_000, 1000, 10**6),
    "--epochs": whole("passes through the simulations", 60, 1, 10**6),
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
    cases = _observations(args)
    print("Posterior of the two moons simulator\n")
    print_row("training", f"{counted(args.epochs, 'epoch')} of AdamW, spline flow of 6 transforms")
    print_row("C2ST", f"{len(cases)} observations, {len(cases[0][2]):,} samples of each")
    print_row("calibration", f"{NEW:,} new simulations to correct the level, {NEW:,} to measure\n")
    print(f"  {'simulations':<14}{'C2ST':>7}{'TARP':>8}{'in 90 %':>10}", end="")
    print(f"{'corrected':>12}{'then in':>10}{'time':>10}", flush=True)
    models, found = {}, {}
    for count in (args.simulations, FEW):
        torch.manual_seed(args.seed)
        start = time.perf_counter()
        model = _train(count, args.epochs, args.seed)
        seconds = time.perf_counter() - start
        score = sum(c2st(exact, model.sample(x, len(exact))) for x, _, exact in cases) / len(cases)
        trust = _trust(model, args.seed)
        place = round(LEVEL * (len(trust.before.levels) - 1))
        held, then = (float(curve.coverage[place]) for curve in (trust.before, trust.after))
        row = f"  {count:<14,}{score:7.3f}{trust.tarp.deviation:8.3f}{held:10.1%}"
        print(f"{row}{trust.level:12.1%}{then:10.1%}{seconds:8.1f} s", flush=True)
        models[f"{count:,} simulations"], found[f"{count:,} simulations"] = model, trust
    print()
    for name, trust in found.items():
        p = ", ".join(f"{value:.2g}" for value in rank_uniformity(trust.ranks, SAMPLES).tolist())
        print_row("ranks", f"p = {p} for theta_1, theta_2 to be uniform: {name}")
    return _picture(models, found, cases)


def _observations(args: argparse.Namespace) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Data, the parameters that made them, and exact samples, of each observation."""
    if args.sbibm is not None:
        read = [TASK.reference(number, args.sbibm) for number in range(1, OBSERVATIONS + 1)]
        return [(one.observation, one.parameters, one.samples) for one in read]
    theta = TASK.prior(OBSERVATIONS, seed=args.seed + 3)
    data = TASK.simulate(theta, seed=args.seed + 4)
    return [(x, t, TASK.sample_posterior(x, EXACT)) for x, t in zip(data, theta, strict=True)]


def _train(simulations: int, epochs: int, seed: int) -> NeuralPosterior:
    """A flow of many simulations, stopped when it is best; of few, trained for as many steps."""
    theta = TASK.prior(simulations, seed)
    x = TASK.simulate(theta, seed + 1)
    flow = NSF(
        2, context=2, transforms=6, hidden_features=[64, 64], activation=torch.nn.SiLU,
        bounds=[(-1, 1), (-1, 1)],
    )  # fmt: skip
    posterior = NeuralPosterior(flow)
    posterior.compile(partial(torch.optim.AdamW, lr=RATE), clip_norm=5.0)
    name = f"{simulations:,} simulations"
    if simulations == FEW:
        _fit.fit(posterior, name, theta, x, batch_size=BATCH, epochs=5 * epochs)
        return posterior
    batches = -(-round(0.9 * simulations) // BATCH)
    cycle = partial(
        torch.optim.lr_scheduler.OneCycleLR, max_lr=RATE, total_steps=batches * epochs,
        pct_start=0.05,
    )  # fmt: skip
    _fit.fit(
        posterior, name, theta, x, TorchScheduler(cycle, "batch"),
        EarlyStopping(patience=epochs, restore_best_weights=True),
        batch_size=BATCH, epochs=epochs, validation_split=0.1,
    )  # fmt: skip
    return posterior


def _trust(model: NeuralPosterior, seed: int) -> Trust:
    """Coverage and ranks on new simulations, before and after the correction by others."""
    levels = []
    for place in (5, 7):
        theta = TASK.prior(NEW, seed + place)
        x = TASK.simulate(theta, seed + place + 1)
        levels.append(model.credible_level(theta, x, SAMPLES))
    samples = model.sample(x, SAMPLES)
    others, measured = levels
    before = expected_coverage(measured)
    wanted = before.levels.tolist()
    inside = [float((measured <= conformal_level(others, a)).double().mean()) for a in wanted[1:-1]]
    after = Coverage(before.levels, torch.tensor([0.0, *inside, 1.0], dtype=torch.float64))
    level = conformal_level(others, LEVEL)
    return Trust(tarp(theta, samples), before, after, level, sbc_ranks(theta, samples))


def _picture(
    models: dict[str, NeuralPosterior],
    found: dict[str, Trust],
    cases: list[tuple[Tensor, Tensor, Tensor]],
) -> object:
    """Samples of the first observation, coverage and ranks."""
    x, truth, exact = cases[0]
    low, high = exact.aminmax(dim=0)
    width = 1.3 * float((high - low).max())
    corner = ((low + high - width) / 2).tolist()
    side = [torch.linspace(c, c + width, 300) for c in corner]
    grid = torch.stack(torch.meshgrid(*side, indexing="ij"), -1)
    samples, regions = {"Exact posterior": exact[:4000]}, {}
    for name, model in models.items():
        title = f"Flow, {name}"
        samples[title] = model.sample(x, 4000)
        level = found[name].level
        density = model.log_prob(grid.flatten(0, 1), x) - model.density_threshold(x, level)
        regions[title] = density.unflatten(0, grid.shape[:2]), f"{level:.1%} region"
    curves: dict[str, dict[str, tuple[Tensor, Tensor]]] = {
        "Regions of highest density": {name: trust.before[:] for name, trust in found.items()},
        "Balls around random points (TARP)": {name: trust.tarp[:] for name, trust in found.items()},
    }
    few = f"{FEW:,} simulations"
    curves["Regions of highest density"][f"{few}, corrected"] = found[few].after[:]
    ranks = {name: trust.ranks for name, trust in found.items()}
    return plots.posteriors(
        samples, regions, (corner[0], corner[1]), width, truth, curves, ranks, SAMPLES
    )
