"""Theory alone, data alone, or both: a pendulum that is measured with noise.

    q'' + 2 delta q' + omega^2 sin q = 0

is measured at random times. The theory knows the constants and the start, but
takes the angles for small ones, so that it is wrong by an amount that no
measurement changes. A network is trained on this theory alone, on the
measurements alone, and on both, where the theory's constants are learned.
Prints the relative L2 error of each against the number of measurements, with
its spread over seeds; writes regimes.png.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos._options import counted, option, whole
from pyneural.models import PINN, Pendulum, model_pendulum
from pyneural.progress import progress
from pyneural.training import LBFGS, Adam

SYSTEMS = ("S19",)
SUMMARY = "Theory alone, data alone, or both."
NEXT = "pyneural demo inverse: constants of equations from data"
QUICK = ("--seeds", "1")
COUNTS = (4, 8, 16, 32, 64, 128, 512, 2048, 8192)
EXAMPLES = (8, 32, 512)
NOISE = 0.15  # radians
OPTIONS = {
    "--seeds": whole("sets of measurements", 3, low=1),
    "--adam": whole("steps of Adam", 200),
    "--lbfgs": whole("iterations of L-BFGS", 300),
    "--thorough": option("ten seeds", action="store_true"),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    pendulum, seeds = Pendulum(), 10 if args.thorough else args.seeds
    t = torch.linspace(0, pendulum.duration, 401, dtype=torch.float64)
    truth = pendulum.angle(t)

    phases = [Adam(args.adam, lr=1e-2), LBFGS(args.lbfgs)]

    def error(curve: Tensor) -> float:
        return float((curve - truth).norm() / truth.norm())

    def curve(pinn: PINN) -> Tensor:
        return pinn.predict(t[:, None])[:, 0]

    print(f"A damped pendulum, measured with a noise of {NOISE} rad; {counted(seeds, 'seed')}\n")
    ways = {"theory alone": "theory", "data alone": "data", "both": "both"}
    errors = {name: torch.zeros(seeds, len(COUNTS), dtype=torch.float64) for name in ways}
    examples: dict[int, tuple[Tensor, dict[str, Tensor]]] = {}
    seed_range = range(args.seed, args.seed + seeds)
    options: dict[str, Any] = {"phases": phases, "progress": False}
    alone = []
    for seed in progress("theory alone", seed_range):
        alone.append(curve(model_pendulum(pendulum, "theory", seed=seed, **options)))
    cases = list(itertools.product(range(seeds), range(len(COUNTS))))
    for index, column in progress("fitting", cases):
        seed, count = seed_range[index], COUNTS[column]
        measured = pendulum.measure(count, NOISE, seed)
        curves = {"theory alone": alone[index]}
        for name in ("data alone", "both"):
            pinn = model_pendulum(pendulum, ways[name], measured, seed=seed, **options)
            curves[name] = curve(pinn)
        for name, values in curves.items():
            errors[name][index, column] = error(values)
        if index == 0 and count in EXAMPLES:
            examples[count] = torch.cat(measured, 1).T, curves
    print("  relative L2 error, median and range over the seeds")
    print("  measured  " + "".join(f"{name:>22}" for name in ways))
    for column, count in enumerate(COUNTS):
        cells = [errors[name][:, column] for name in ways]
        texts = [f"{c.quantile(0.5):.3f} ({c.min():.3f}-{c.max():.3f})" for c in cells]
        print(f"  {count:>10}" + "".join(f"{text:>22}" for text in texts))
    print()
    fits = [
        plots.Fits(f"{count} measurements", t, truth, measured, curves)
        for count, (measured, curves) in examples.items()
    ]
    title = "A damped pendulum from a theory of small angles, from noisy measurements, from both"
    return plots.regimes(COUNTS, errors, fits, title)
