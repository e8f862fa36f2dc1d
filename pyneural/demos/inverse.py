"""Two constants of an equation from scattered measurements of its solution.

    Burgers  u_t + lambda_1 u u_x - lambda_2 u_xx = 0,  lambda = (1, 0.01 / pi)
    KdV      u_t + lambda_1 u u_x + lambda_2 u_xxx = 0,  lambda = (1, 0.0025)

The solution is known at 2,000 points, with a noise of 0, 1, 5 and 10 % of
its standard deviation. A network is trained to fit them and to obey the
equation, whose constants are trained with it, from lambda = (0, 0.0025).
Prints the estimates with their spread over seeds and their errors, beside
those of Raissi, Perdikaris and Karniadakis (2019); writes inverse.png.
--thorough takes ten seeds and longer trainings.
"""

from __future__ import annotations

import argparse

import torch
from tqdm import tqdm

from pyneural import plots
from pyneural.demos._options import counted, option, whole
from pyneural.models import (
    BurgersConstants,
    Identification,
    KdVConstants,
    UnknownConstants,
    identify,
    scattered_measurements,
)
from pyneural.training import LBFGS, Adam

SYSTEMS = ("S23",)
SUMMARY = "Constants of Burgers and KdV from noisy data."
QUICK = ("--seeds", "1", "--adam", "50", "--lbfgs", "100")
NOISES = 0.0, 0.01, 0.05, 0.1
# Of one data set each, in parts of the true constants: table 1 of the paper, 2,000 points.
RAISSI = torch.tensor([[0.0010, 0.0047], [0.0004, 0.0001], [0.0019, 0.062], [0.0010, 0.064]])
_FORMULAS = {
    BurgersConstants: r"$u_t + \lambda_1 u\,u_x - \lambda_2 u_{xx} = 0$",
    KdVConstants: r"$u_t + \lambda_1 u\,u_x + \lambda_2 u_{xxx} = 0$",
}
OPTIONS = {
    "--seeds": whole("data sets and networks", 2, low=1),
    "--adam": whole("steps of Adam", 200),
    "--lbfgs": whole("iterations of L-BFGS", 1000),
    "--thorough": option("ten seeds, trainings three times as long", action="store_true"),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    seeds = 10 if args.thorough else args.seeds
    effort = 3 if args.thorough else 1
    phases = [Adam(args.adam * effort, lr=1e-2), LBFGS(args.lbfgs * effort)]
    equations: list[type[UnknownConstants]] = [BurgersConstants, KdVConstants]
    print(f"Two constants from 2,000 measurements; {counted(seeds, 'seed')}\n")
    total = len(equations) * len(NOISES) * seeds
    bar = tqdm(total=total, leave=False, disable=None, ncols=79)
    rows = []
    for equation in equations:
        found: dict[float, list[Identification]] = {}
        for noise in NOISES:
            bar.set_description(f"{equation.__name__}, noise {noise:.0%}")
            found[noise] = []
            for seed in range(args.seed, args.seed + seeds):
                found[noise].append(identify(equation(), noise, seed, phases=phases))
                bar.update()
        rows.append(_row(equation(), found, args.seed))
        bar.clear()
        _print(equation(), found)
    bar.close()
    return plots.identification(rows, "Constants of an equation from scattered measurements")


def _row(
    equation: UnknownConstants, found: dict[float, list[Identification]], seed: int
) -> plots.Identified:
    points, u = equation.solution()
    t, x = (points[:, column].unique() for column in (0, 1))
    errors = torch.tensor([[one.errors for one in each] for each in found.values()])
    published = {"Raissi et al. 2019": RAISSI} if isinstance(equation, BurgersConstants) else {}
    measured, _ = scattered_measurements(equation, seed=seed)
    text = _FORMULAS[type(equation)]
    grid = u.reshape(len(t), len(x))
    return plots.Identified(text, t, x, grid, measured, NOISES, errors.double(), published)


def _print(equation: UnknownConstants, found: dict[float, list[Identification]]) -> None:
    burgers = isinstance(equation, BurgersConstants)
    true = ", ".join(f"{value:.6f}" for value in equation.truth)
    print(f"  {equation.formula},  lambda = ({true})")
    beside = "   of Raissi" if burgers else ""
    print(f"  noise {'lambda_1':<17}{'lambda_2':<24}error in %{beside}")
    for noise, theirs in zip(found, (100 * RAISSI).tolist(), strict=True):
        values = torch.tensor([one.found for one in found[noise]], dtype=torch.float64)
        errors = torch.tensor([one.errors for one in found[noise]], dtype=torch.float64)
        mean, spread = values.mean(0).tolist(), values.std(0, correction=0).tolist()
        first, second = (100 * errors.quantile(0.5, 0)).tolist()
        row = f"  {noise:4.0%}  {mean[0]:.4f} +- {spread[0]:.4f} "
        row += f"{mean[1]:.6f} +- {spread[1]:.6f} {first:6.2f} {second:6.2f}"
        print(row + (f"   {theirs[0]:.2f} {theirs[1]:.2f}" if burgers else ""))
    print()
