"""The simplest recurrent network, a feed-forward network and the Kalman filter.

    h_t = tanh(W_hh h_(t-1) + W_xh x_t),  y_t = W_hy h_t

All three predict the next noisy reading of a randomly driven oscillator: the
recurrent network from all previous readings, the feed-forward network from the
last 8, the Kalman filter with the true model, which is the optimum. Prints
errors on new series and checks of the recurrence; writes rnn.png.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from torch import Tensor

from pyneural import optim, plots
from pyneural.demos import _fit
from pyneural.demos._options import print_row, whole
from pyneural.demos.mlp import finite_differences
from pyneural.layers import Dense
from pyneural.models import Model, Sequential, SimpleRNN, pushed_oscillator

SYSTEMS = ("S34",)
SUMMARY = "The simplest RNN and the Kalman filter."
NEXT = "pyneural demo long-lag: what recurrent networks remember"
QUICK = ("--epochs", "15")
MOTION, PUSH, NOISE = (0.25, 0.02), 0.003, 0.6  # arguments of pushed_oscillator
STEPS, TRAINING, HELD_OUT, WINDOW, HIDDEN, BATCH = 100, 1000, 500, 8, 32, 50
ADAM = partial(optim.Adam, lr=3e-3)
OPTIONS = {"--epochs": whole("passes through the training series", 60, low=1)}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    oscillator = pushed_oscillator(*MOTION, PUSH, NOISE)
    _, y = oscillator.simulate(STEPS, args.seed, series=TRAINING)
    _, new = oscillator.simulate(STEPS, args.seed + 1, series=HELD_OUT)
    training = y.float()
    print("Predicting the next reading of a randomly driven oscillator\n")
    network = SimpleRNN(1, HIDDEN, 1)
    recurrent = Model(network)
    forward = Sequential([Dense(HIDDEN, "tanh", input_shape=(WINDOW,)), Dense(1)])
    for name, model, batch, x, target in (
        ("recurrent", recurrent, BATCH, training[:, :-1], training[:, 1:]),
        ("feed-forward", forward, BATCH * (STEPS - WINDOW), *_windows(training)),
    ):
        model.compile(ADAM, "mse")
        _fit.fit(model, name, x, target, epochs=args.epochs, batch_size=batch)
    predicted = oscillator.filter(new).predicted_mean @ oscillator.observation.T
    with torch.no_grad():
        by_window = forward(_windows(new.float())[0]).view(HELD_OUT, -1)
        predictions = {  # of reading WINDOW and later, [HELD_OUT, STEPS - WINDOW]
            "Kalman filter, true model": predicted[:, WINDOW:, 0].float(),
            "recurrent network": network(new[:, :-1].float())[:, WINDOW - 1 :, 0],
            f"feed-forward, last {WINDOW}": by_window,
            "the last reading": new[:, WINDOW - 1 : -1, 0].float(),
        }
    target = new[:, WINDOW:, 0].float()
    print("  prediction                    error (rms)")
    for name, prediction in predictions.items():
        print(f"  {name:<30}{float((prediction - target).square().mean().sqrt()):11.4f}")
    print(f"  {'noise of a reading alone':<30}{NOISE**0.5:11.4f}\n")
    rolled, through_time = _checks(network.double(), new[:4, :20])
    print_row("rolled", f"equals unrolled within {rolled:.0e}")
    print_row("gradient", f"through time agrees with finite differences within {through_time:.0e}")
    shown = {name: prediction[0] for name, prediction in predictions.items()}
    return plots.predictions(target[0], shown, first_step=WINDOW)


def _windows(y: Tensor) -> tuple[Tensor, Tensor]:
    """All windows of WINDOW successive readings, and the reading after each."""
    windows = y[..., 0].unfold(1, WINDOW + 1, 1).flatten(0, 1)
    return windows[:, :-1].contiguous(), windows[:, -1:].contiguous()


def _checks(network: SimpleRNN, x: Tensor) -> tuple[float, float]:
    """Differences of rolled from unrolled, and of the gradient from finite differences."""
    leaf = x.clone().requires_grad_()
    rolled = network(leaf)
    (grad,) = torch.autograd.grad(rolled[:, -1].sum(), leaf)
    differences, *_ = finite_differences(lambda: network(leaf)[:, -1].sum(), [leaf], 1e-5)
    scale = float(differences.abs().max())
    unrolled = float((rolled - network.unrolled(x)).detach().abs().max())
    return unrolled, float((grad - differences).abs().max()) / scale
