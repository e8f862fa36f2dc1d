"""Which generative model is right for your data: the same time for each, the same measures.

Trains models on images or a table and measures their samples against rows that
were held out: quality, diversity, likelihood, copies of training rows, speed.
A mixture of Gaussians is always in. The budget is wall time of training, for
each model and seed; measuring takes some seconds more. Writes compare.csv,
compare.json and compare.png, and keeps finished cells in compare.cells.json,
with which an interrupted comparison goes on. Under torchrun the cells are
shared over the processes.

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
    parser.add_argument("--data", required=True, metavar="DATA",
                        help="galaxies, digits, mnist, or a file .csv, .parquet or .npy")  # fmt: skip
    parser.add_argument("--models", default=",".join(MODELS), metavar="A,B",
                        help=f"of {', '.join(MODELS)} (default: all)")  # fmt: skip
    parser.add_argument("--budget", type=float, default=20.0, metavar="SECONDS",
                        help="of training, for each model and seed (default: 20)")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="number (default: 3)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="the first one (default: 0)")  # fmt: skip
    parser.add_argument("--drop", default="", metavar="A,B", help="columns to leave out")
    parser.add_argument("--wheel", metavar="FILE",
                        help="wheel of pzflow (default: the installed package)")  # fmt: skip
    parser.add_argument("--out", default=".", metavar="DIR", help="output folder (default: .)")
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
        args.data, models, budget=args.budget, seeds=list(seeds), file=out / CELLS, drop=drop,
        wheel=args.wheel,
    )  # fmt: skip
    if int(os.environ.get("RANK", "0")) == 0:
        print_report(found)
        print()
        for path in write_report(found, out):
            print(f"  {path}")
