"""Reading the loss curve: eight training runs, seven of them with a fault.

Each run trains a small network, with its fault made on purpose: it stops too
early, overfits, jumps, uses dropout in training only, or has a learning rate
that is too low, too high, or leads to divergence. `History.diagnose()` sees
only the curves. Prints its diagnosis, the reason and the remedy; writes
loss-doctor.png.
"""

from __future__ import annotations

import argparse
import textwrap
import warnings

import torch

from pyneural import plots
from pyneural.demos import _fit, _options
from pyneural.demos._training_faults import TRAINING_FAULTS

SYSTEMS = ("S13",)
SUMMARY = "Reading the loss curve: what goes wrong."


def run(args: argparse.Namespace) -> int:
    """Runs the demo; returns 0."""
    print("Eight training runs, and the diagnosis of their loss curves\n")
    curves = []
    for name, train in TRAINING_FAULTS.items():
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the loss that diverges
            history = train(args.seed, [_fit.Bar(name)])
        diagnosis = history.diagnose()
        print(f"  {name}")
        for line in str(diagnosis).splitlines():
            unbroken = line.replace(" %", "\N{NO-BREAK SPACE}%")
            text = textwrap.fill(unbroken, 75, initial_indent=" " * 4, subsequent_indent=" " * 6)
            print(text.replace("\N{NO-BREAK SPACE}", " "))
        curves.append((name, history["loss"], history["val_loss"], diagnosis.labels))
    print()
    figure = plots.loss_gallery(curves)
    _options.save_picture(figure, args.out / "loss-doctor.png")
    return 0
