"""Reading the loss curve: eight trainings, one healthy and seven with a fault.

Each trains a small network and has the fault on purpose: it stops too early,
overfits, jumps, has dropout in training only, or a learning rate that is too
low, too high, or makes it diverge. `History.diagnose()` sees the curves alone.
Prints what it finds, why, and what it suggests; writes loss-doctor.png.
"""

from __future__ import annotations

import argparse
import textwrap
import warnings

import torch

from pyneural import plots
from pyneural.demos import _fit, _options
from pyneural.models import TRAINING_FAULTS

SYSTEMS = ("S13",)
SUMMARY = "Reading the loss curve: what goes wrong."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options."""
    _options.add_picture(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the demo; returns 0."""
    out = _options.checked_out(args.out)
    print("Eight trainings, and what their loss curves say\n")
    curves = []
    for name, train in TRAINING_FAULTS.items():
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the loss that becomes infinite
            history = train(args.seed, [_fit.Bar(name)])
        diagnosis = history.diagnose()
        print(f"  {name}")
        for line in str(diagnosis).splitlines():
            whole = line.replace(" %", "\N{NO-BREAK SPACE}%")
            text = textwrap.fill(whole, 75, initial_indent=" " * 4, subsequent_indent=" " * 6)
            print(text.replace("\N{NO-BREAK SPACE}", " "))
        curves.append((name, history["loss"], history["val_loss"], diagnosis.labels))
    print()
    figure = plots.loss_gallery(curves)
    _options.print_rows([("picture", str(plots.save(figure, out / "loss-doctor.png")))])
    return 0
