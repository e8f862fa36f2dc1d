"""Two constants of an equation from scattered measurements of its solution.

    Burgers  u_t + lambda_1 u u_x - lambda_2 u_xx = 0,  lambda = (1, 0.01 / pi)
    KdV      u_t + lambda_1 u u_x + lambda_2 u_xxx = 0,  lambda = (1, 0.0025)

The solution is known at 2,000 points, with a noise of 0, 1, 5 and 10 % of
its standard deviation. A network is trained to fit them and to obey the
equation, whose constants are trained with it, from lambda = (0, 0.0025), by
Levenberg and Marquardt's method with a growing weight of the equation.
Prints the estimates with their spread over seeds, the medians of their
errors beside those that the bound of Cramer and Rao allows where neither the
start nor the ends are known, those that an efficient estimate has of the same
data sets, and those of Raissi, Perdikaris and Karniadakis (2019), and how many
of the intervals of 95 % contain the true constants; writes inverse.png.
--thorough takes ten seeds, --quick a tenth of the steps.
"""

from __future__ import annotations

import argparse
import itertools

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos._options import counted, option, whole
from pyneural.models import (
    BurgersConstants,
    Identification,
    KdVConstants,
    UnknownConstants,
    identify,
    known_start_deviations,
    scattered_measurements,
)
from pyneural.models.physics.identification import STAGES
from pyneural.progress import progress

SYSTEMS = ("S23",)
SUMMARY = "Constants of Burgers and KdV from noisy data."
NEXT = "pyneural demo regimes: what theory and data are worth"
QUICK = ("--seeds", "1")
SHARE = 0.1  # of the steps, with --quick
NOISES = 0.0, 0.01, 0.05, 0.1
# Of one data set each, in parts of the true constants: table 1 of the paper, 2,000 points.
RAISSI = torch.tensor([[0.0010, 0.0047], [0.0004, 0.0001], [0.0019, 0.062], [0.0010, 0.064]])
_FORMULAS = {
    BurgersConstants: r"$u_t + \lambda_1 u\,u_x - \lambda_2 u_{xx} = 0$",
    KdVConstants: r"$u_t + \lambda_1 u\,u_x + \lambda_2 u_{xxx} = 0$",
}
# Without noise the fit of the measurements is not to give way to the equation.
CLEAN = (0.03, 40), (1.0, 30)
MEDIAN = 0.6745  # of the absolute value of a Gaussian, in standard deviations
LEVEL = 0.95
OPTIONS = {
    "--seeds": whole("data sets and networks", 2, low=1),
    "--thorough": option("ten seeds", action="store_true"),
    "--quick": option("a tenth of the steps", action="store_true"),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    seeds, share = 10 if args.thorough else args.seeds, SHARE if args.quick else 1.0
    equations: list[type[UnknownConstants]] = [BurgersConstants, KdVConstants]
    print(f"Two constants from 2,000 measurements; {counted(seeds, 'seed')}\n")
    rows = []
    cases = list(itertools.product(NOISES, range(args.seed, args.seed + seeds)))
    for equation in equations:
        found: dict[float, list[Identification]] = {noise: [] for noise in NOISES}
        for noise, seed in progress(equation.__name__, cases):
            stages = [(w, round(share * steps)) for w, steps in (STAGES if noise else CLEAN)]
            one = identify(equation(), noise, seed, stages=stages, progress=False)
            found[noise].append(one)
        bounds = _bounds(found)
        rows.append(_row(equation(), found, bounds, args.seed))
        _print(equation(), found, bounds)
    return plots.identification(rows, "Constants of an equation from scattered measurements")


def _bounds(found: dict[float, list[Identification]]) -> Tensor:
    """Median errors that efficient estimates have at each noise, [K, 2], in parts."""
    at_one = torch.tensor([one.bound(1.0) for one in found[0.0]], dtype=torch.float64)
    return MEDIAN * torch.outer(torch.tensor(list(found)).double(), at_one.quantile(0.5, 0))


def _row(
    equation: UnknownConstants,
    found: dict[float, list[Identification]],
    bounds: Tensor,
    seed: int,
) -> plots.Identified:
    points, u = equation.solution()
    t, x = (points[:, column].unique() for column in (0, 1))
    errors = torch.tensor([[one.errors for one in each] for each in found.values()])
    published = {"Raissi et al. 2019": RAISSI} if isinstance(equation, BurgersConstants) else {}
    measured, _ = scattered_measurements(equation, seed=seed)
    text = _FORMULAS[type(equation)]
    grid = u.reshape(len(t), len(x))
    return plots.Identified(text, t, x, grid, measured, NOISES, errors.double(), bounds, published)


def _print(
    equation: UnknownConstants, found: dict[float, list[Identification]], bounds: Tensor
) -> None:
    efficient = torch.tensor([one.efficient_errors(1.0) for one in found[0.0]]).quantile(0.5, 0)
    true = ", ".join(f"{value:.6f}" for value in equation.truth)
    print(f"  {equation.formula},  lambda = ({true})")
    print("  medians of the errors in %; efficient: an efficient estimate's, same data")
    print("  noise  constant      mean    spread   error efficient   bound  Raissi  inside")
    inside, count = 0, 0
    for row, (noise, each) in enumerate(found.items()):
        values = torch.tensor([one.found for one in each], dtype=torch.float64)
        errors = torch.tensor([one.errors for one in each], dtype=torch.float64)
        covered = (torch.tensor([one.levels for one in each]) <= LEVEL).sum(0).tolist()
        for index, name in enumerate(("lambda_1", "lambda_2")):
            start = f"{noise:.0%}" if index == 0 else ""
            mean, spread = float(values[:, index].mean()), float(values[:, index].std(correction=0))
            line = f"  {start:>5}  {name}  {mean:>8.6f}  {spread:>8.6f}"
            allowed = noise * float(efficient[index]), float(bounds[row, index])
            line += f"{100 * float(errors[:, index].quantile(0.5)):>8.2g}"
            for width, part in zip((10, 8), allowed, strict=True):
                line += f"{100 * part:>{width}.2g}" if noise else " " * width
            burgers = isinstance(equation, BurgersConstants)
            line += f"{100 * float(RAISSI[row, index]):>8.2g}" if burgers else " " * 8
            line += f"{covered[index]:>5}/{len(each)}" if noise else ""
            print(line.rstrip())
        if noise:
            inside, count = inside + sum(covered), count + 2 * len(each)
    print(f"  {inside} of {count} intervals of {LEVEL:.0%} contain the true constant")
    known = known_start_deviations(equation, noise=NOISES[-1])
    both = ", ".join(f"{100 * MEDIAN * one:.2g}" for one in known)
    print(f"  bound at {NOISES[-1]:.0%}, were u known at t = 0 and at the ends: {both}\n")
