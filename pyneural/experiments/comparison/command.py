"""Which generative model is right for your data: the same budget and measures for each.

Trains models on images or a table and measures their samples against rows that
were held out: quality, diversity, likelihood, copies of training rows, speed.
A mixture of Gaussians is always in. The budget is wall time of training, for
each model and seed; measuring takes some seconds more. With --steps it is a
number of steps, and the outcome does not depend on the speed of the machine.
Writes compare.csv, compare.json and compare.png, and keeps finished cells in
compare.cells.json, with which an interrupted comparison goes on. Under torchrun
the cells are shared over the processes.

The model to take has the lowest C2ST, of images the lowest Frechet distance; of
those that cannot be told from it, given the spread over the seeds, the simplest.

All models see the same units: columns of whole numbers with uniform noise, heavy
tails compressed by asinh, all columns whitened; pixels from 0 to 1.

A table has a column each number. Columns of text and of times are refused by
name unless --drop leaves them out; rows with missing or infinite values,
constant columns and copies of rows are left out and counted.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from pyneural import plots
from pyneural.experiments.comparison.compare import compare
from pyneural.experiments.comparison.recommendation import MODELS
from pyneural.experiments.comparison.report import print_report, write_report
from pyneural.training import check_writable

CELLS = "compare.cells.json"


def make_parser() -> argparse.ArgumentParser:
    """The parser of the options of ``pyneural compare``."""
    parser = argparse.ArgumentParser(
        prog="pyneural compare", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    options = {
        "--data": ("DATA", None, "galaxies, digits, mnist, or a file .csv, .parquet or .npy"),
        "--models": ("A,B", ",".join(MODELS), f"some of {', '.join(MODELS)} (default: all)"),
        "--budget": ("SECONDS", 20.0, "of training, for each model and seed (default: 20)"),
        "--steps": ("N", None, "of training for each network, in place of --budget"),
        "--seeds": ("N", 3, "number of seeds, 2 or more (default: 3)"),
        "--seed": ("N", 0, "the first one (default: 0)"),
        "--drop": ("A,B", "", "columns to leave out"),
        "--wheel": ("FILE", None, "wheel of pzflow (default: the installed package)"),
        "--out": ("DIR", ".", "output folder (default: .)"),
    }
    for name, (metavar, default, text) in options.items():
        kind = {"SECONDS": float, "N": int}.get(metavar, str)
        parser.add_argument(
            name, required=name == "--data", default=default, type=kind, metavar=metavar, help=text
        )
    return parser


def main(arguments: Sequence[str]) -> None:
    """Runs the comparison that the arguments ask for."""
    args = make_parser().parse_args(arguments)
    plots.check_installed()  # now: otherwise it would fail only after the training
    out = check_writable(args.out, "--out")
    seeds = range(args.seed, args.seed + args.seeds)
    drop = [name.strip() for name in args.drop.split(",") if name.strip()]
    models = [name.strip() for name in args.models.split(",") if name.strip()]
    found = compare(
        args.data, models, budget=args.budget, steps=args.steps, seeds=list(seeds),
        file=out / CELLS, drop=drop, wheel=args.wheel,
    )  # fmt: skip
    if int(os.environ.get("RANK", "0")) == 0:
        print_report(found)
        print()
        for path in write_report(found, out):
            print(f"  {path}")
