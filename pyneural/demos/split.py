"""Training, validation and test sets; parameters and hyperparameters counted.

Networks with one hidden layer of several widths learn 40 noisy values of
sin(4 x). The training set fits the weights, the validation set chooses the
width, and the test set, used once, measures the error of the chosen network.
Prints its parameters, layer by layer, and its hyperparameters; writes
split.png.
"""

from __future__ import annotations

import argparse
import textwrap
from functools import partial

import torch

from pyneural import optim, plots
from pyneural.demos import _fit
from pyneural.demos._options import whole
from pyneural.layers import Dense
from pyneural.training import Sequential, ThreeWaySplit, count_hyperparameters

SYSTEMS = ("S07", "S09")
SUMMARY = "Three sets of data; counts of parameters."
NEXT = "pyneural demo losses: what is measured on such sets"
QUICK = ("--epochs", "60")
WIDTHS, NOISE, BATCH = (1, 2, 4, 8, 16, 32, 64), 0.3, 10
SAMPLES, FRACTIONS = 640, (0.0625, 0.46875, 0.46875)  # few for training, many to measure the error
OPTIONS = {"--epochs": whole("passes through the training set", 300, low=1)}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    models, errors = [], []
    x = 2 * torch.rand(SAMPLES, 1) - 1
    split = ThreeWaySplit(
        x,
        torch.sin(4 * x) + NOISE * torch.randn(SAMPLES, 1),
        fractions=FRACTIONS,
        seed=args.seed,
    )
    for width in WIDTHS:
        model = Sequential([Dense(width, "tanh", input_shape=(1,)), Dense(1)])
        model.compile(partial(optim.Adam, lr=2e-2), "mse")
        _fit.fit(model, f"width {width}", *split.train, epochs=args.epochs, batch_size=BATCH)
        models.append(model)
        errors.append((model.evaluate(*split.train), model.evaluate(*split.validation)))
    best = min(range(len(WIDTHS)), key=lambda index: errors[index][1])
    test = split.open_test()
    measured = models[best].evaluate(*test)
    sizes = (len(part[0]) for part in (split.train, split.validation, test))
    print("Training, validation and test set\n")
    print("  {} samples for training, {} for validation, {} for the test\n".format(*sizes))
    print("  width    training    validation")
    for index, (width, (training, validation)) in enumerate(zip(WIDTHS, errors, strict=True)):
        chosen = "  <- chosen" if index == best else ""
        print(f"  {width:>5}{training:12.4f}{validation:14.4f}{chosen}")
    print(f"\n  test error of the chosen network {measured:.4f}, noise {NOISE**2:.4f}\n")
    for table in (models[best].count(), count_hyperparameters(models[best], BATCH, args.epochs)):
        print(textwrap.indent(str(table), "  ") + "\n")
    try:
        split.open_test()
    except RuntimeError as error:
        print(f"  opened again: {str(error).partition(': ')[2].partition(';')[0]}\n")
    return plots.model_choice(WIDTHS, errors, best, measured, NOISE**2)
