"""Generative models compared: one data set, one budget, the same measures.

Each model is trained for the same time (with --steps: for the same number of
steps), from three seeds, and its samples are measured against rows that were
held out: how often a classifier tells them apart (C2ST, 0.5 is perfect),
precision and recall, likelihood, copies of training rows, samples a second.
Prints the table, three claims of the talk beside what was measured, and which
model to take by a stated rule, or that it can't tell. Writes compare.png. The
same for data of your own, and for all ten models:
pyneural compare --data FILE.csv
"""

from __future__ import annotations

import argparse

from pyneural.demos._flow_toys import TOYS
from pyneural.demos._options import nonnegative, option, whole
from pyneural.experiments.comparison import (
    DataSet,
    compare,
    draw,
    load_data,
    print_report,
)

SYSTEMS = ("S29",)
SUMMARY = "Which generative model is right for you?"
NEXT = "pyneural demo posterior: a posterior, and whether to trust it"
ROWS = 4_000  # samples of a toy
MEASURED, EPOCHS = 600, 60  # samples of a measure, and passes of the classifier of C2ST
MODELS = ("gaussian", "mixture", "nsf", "vae", "gan", "ddpm")
QUICK = ("--seeds", "3", "--steps", "2000")
OPTIONS = {
    "--data": option(
        f"{', '.join(TOYS)} or digits", "checkerboard", choices=(*TOYS, "digits"), metavar="DATA"
    ),
    "--budget": option("seconds of training, each", 3.0, type=nonnegative, metavar="SECONDS"),
    "--steps": whole("steps of training, each, in place of seconds", None, 1),
    "--seeds": whole("number of seeds", 3, 2, 100),
}


def run(args: argparse.Namespace) -> object:
    """Runs the comparison; returns the figure."""
    data = load_data("digits") if args.data == "digits" else _toy(args.data, args.seed)
    found = compare(
        data, MODELS, budget=args.budget, steps=args.steps,
        seeds=range(args.seed, args.seed + args.seeds), measured=MEASURED, epochs=EPOCHS,
    )  # fmt: skip
    print_report(found)
    return draw(found)


def _toy(name: str, seed: int) -> DataSet:
    x = TOYS[name][0]().sample(ROWS, seed)
    return DataSet(name, x.double(), ("x", "y"))
