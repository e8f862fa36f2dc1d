"""Long-term memory: the adding problem.

Two values of a sequence are marked, on average half its length apart; the
target is their sum. Simple recurrent networks, also stacked or bidirectional,
fail because their gradient through time vanishes. LSTM and GRU solve the task,
and so does a transformer, which attends to all steps at once. Prints the
held-out error of each network; writes long-lag.png.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from pyneural import data, optim, plots
from pyneural.demos import _fit
from pyneural.demos._options import whole
from pyneural.models import Model, PatchTransformer, SequenceRegressor

SYSTEMS = ("S32", "S36")
SUMMARY = "RNN, LSTM, GRU, transformer: long memory."
NEXT = "pyneural demo transformer: how attention translates"
QUICK = ("--lag", "20", "--epochs", "3")
HIDDEN, PATCH, BATCH, CLIP = 64, 4, 64, 1.0
NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "simple RNN": partial(SequenceRegressor, "rnn", 2, HIDDEN, 1),
    "stacked RNN": partial(SequenceRegressor, "rnn", 2, HIDDEN, 1, layers=2),
    "bidirectional RNN": partial(SequenceRegressor, "rnn", 2, HIDDEN, 1, bidirectional=True),
    "LSTM": partial(SequenceRegressor, "lstm", 2, HIDDEN, 1),
    "GRU": partial(SequenceRegressor, "gru", 2, HIDDEN, 1),
    "transformer": partial(PatchTransformer, 2, PATCH, 1, d_model=HIDDEN),
}
RATES = {"transformer": 1e-3}  # learning rate of Adam
RATE = 5e-3  # for the other networks
TRAINING, HELD_OUT, FORGETTING = 9_600, 2_000, 1 / 6
OPTIONS = {
    "--lag": whole("length of the sequences", 100, low=2, high=10_000),
    "--epochs": whole("passes through the training set", 12, low=1),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    x, y = data.adding_problem(TRAINING, args.lag, args.seed)
    held_out = data.adding_problem(HELD_OUT, args.lag, args.seed + 1)
    print(f"The adding problem, {args.lag} steps\n")
    print("  network              parameters   held-out error   training")
    curves = {}
    for name, make in NETWORKS.items():
        torch.manual_seed(args.seed)
        model = Model(make())
        model.compile(partial(optim.Adam, lr=RATES.get(name, RATE)), "mse", clip_norm=CLIP)
        began = time.perf_counter()
        history = _fit.fit(
            model, name, x, y, validation_data=held_out, epochs=args.epochs, batch_size=BATCH
        )
        curves[name] = history["val_loss"]
        parameters = sum(parameter.numel() for parameter in model.parameters())
        error, seconds = curves[name][-1], time.perf_counter() - began
        solved = "  solved" if error < FORGETTING / 10 else ""
        print(f"  {name:<19}{parameters:>12,}{error:17.5f}{seconds:9.1f} s{solved}")
    print(f"  {'always the mean':<19}{0:>12}{FORGETTING:17.5f}\n")
    return plots.long_lag(held_out[0][0], float(held_out[1][0]), curves, FORGETTING)
