"""The quadratic cost, and the matching pairs of loss and last layer.

    C = 1/2 sum_j (y_j - a_j)^2

With a smooth activation a small change of a weight gives a small change of C;
with a step function it gives none, or a jump. Then a network with 32 tanh
units is trained for each loss, once with the matching last layer and once with
another one, about which `compile` warns. Prints a metric of both on new
samples; writes losses.png.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pyneural import optim, plots
from pyneural.demos import _fit
from pyneural.demos._options import print_row, whole
from pyneural.layers import Dense
from pyneural.training import History, Sequential
from pyneural.training.losses import quadratic_cost

SYSTEMS = ("S08", "S12")
SUMMARY = "The quadratic cost; losses and last layers."
NEXT = "pyneural demo loss-doctor: what goes wrong with them"
QUICK = ("--epochs", "30")
SAMPLES, BATCH, CLASSES = 600, 50, 3
WEIGHTS = 1001  # values of the weight at which C is computed


@dataclass(frozen=True)
class Task:
    """A regression or classification task for one loss."""

    title: str  # the name of the loss, in words
    right: str  # activation of the matching last layer
    wrong: str  # of one that does not match
    measure: str  # metric to compare the two
    draw: Callable[[int], tuple[Tensor, Tensor]]  # x and y for a given number of samples
    units: int = 1  # of the last layer


def _wave(samples: int) -> tuple[Tensor, Tensor]:
    x = 2 * torch.rand(samples, 1) - 1
    return x, torch.sin(4 * x)


def _wave_with_outliers(samples: int) -> tuple[Tensor, Tensor]:
    x, y = _wave(samples)
    return x, torch.where(torch.rand(samples, 1) < 0.1, y + 4 * torch.randn(samples, 1), y)


def _magnitudes(samples: int) -> tuple[Tensor, Tensor]:
    x = 2 * torch.rand(samples, 1) - 1
    return x, torch.exp(1.5 + 1.5 * torch.sin(3 * x))


def _spirals(samples: int, arms: int) -> tuple[Tensor, Tensor]:
    """Points on spiral arms, and the index of the arm."""
    arm, radius = torch.randint(arms, (samples,)), torch.rand(samples)
    angle = 2.5 * radius + 2 * math.pi * arm / arms + 0.15 * torch.randn(samples)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), arm


def _two_arms(samples: int) -> tuple[Tensor, Tensor]:
    x, arm = _spirals(samples, 2)
    wrong = torch.rand(samples) < 0.1  # wrong labels: no network can be certain
    return x, torch.where(wrong, 1 - arm, arm)[:, None].float()


def _arms(samples: int) -> tuple[Tensor, Tensor]:
    x, arm = _spirals(samples, CLASSES)
    return x, torch.eye(CLASSES)[arm]


TASKS = (
    Task("mean squared error", "linear", "relu", "mae", _wave),
    Task("mean absolute error", "linear", "relu", "mae", _wave_with_outliers),
    Task("mean squared logarithmic error", "linear", "sigmoid", "msle", _magnitudes),
    Task("binary crossentropy", "sigmoid", "linear", "bce", _two_arms),
    Task("categorical crossentropy", "softmax", "sigmoid", "kld", _arms, CLASSES),
    Task("Kullback-Leibler divergence", "softmax", "sigmoid", "accuracy", _arms, CLASSES),
)
OPTIONS = {"--epochs": whole("epochs of each training", 60, low=1)}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    weight, smooth, slope, step = _costs()
    print("Quadratic cost of a network 3-4-1, 20 samples\n")
    change = weight[1] - weight[0]
    print_row("step of w", f"{change:.0e}")
    for name, cost in (("sigmoid", smooth), ("step", step)):
        changes = cost.diff().abs()
        most, none = changes.max(), (changes == 0).double().mean()
        print_row(name, f"C changes by {most:.1e} at most; not at all at {none:.0%} of the steps")
    error = ((smooth[2:] - smooth[:-2]) / (2 * change) - slope[1:-1]).abs().max()
    print_row("gradient", f"{error:.0e} from finite differences of C, for the sigmoid")
    print(f"\n  {'loss':<32}{'metric':<10}{'right last layer':<18}wrong (* warned)\n")
    curves = []
    for task in TASKS:
        (x, y), new = task.draw(SAMPLES), task.draw(SAMPLES)
        right, warned_right = _train(task, task.right, x, y, new, args.epochs)
        wrong, warned = _train(task, task.wrong, x, y, new, args.epochs)
        good, bad = (history[f"val_{task.measure}"] for history in (right, wrong))
        ends = f"{task.right} {good[-1]:.3g}", f"{task.wrong} {bad[-1]:.3g}"
        mark = " *" if warned and not warned_right else ""
        print(f"  {task.title:<32}{task.measure:<10}{ends[0]:<18}{ends[1]}{mark}", flush=True)
        curves.append((task.title, task.measure, (task.right, good), (task.wrong, bad)))
    print()
    return plots.losses(weight, smooth, slope, step, curves)


def _train(
    task: Task, last: str, x: Tensor, y: Tensor, new: tuple[Tensor, Tensor], epochs: int
) -> tuple[History, bool]:
    """The loss curves, and whether ``compile`` warned."""
    hidden = Dense(32, "tanh", input_shape=(x.shape[1],))
    model = Sequential([hidden, Dense(task.units, activation=last)])
    loss = task.title.lower().replace(" ", "_").replace("-", "_")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.compile(partial(optim.Adam, lr=1e-2), loss, [task.measure])
    name = f"{task.title}, {last}"
    history = _fit.fit(model, name, x, y, epochs=epochs, batch_size=BATCH, validation_data=new)
    return history, bool(caught)


def _costs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values of a weight of the first layer; C and dC/dw for sigmoids there, C for steps."""
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.rand(20, 1, dtype=torch.float64)
    first, last = (torch.randn(shape, dtype=torch.float64) for shape in ((4, 3), (1, 4)))
    weight = torch.linspace(-3, 3, WEIGHTS, dtype=torch.float64, requires_grad=True)
    edges = first.repeat(WEIGHTS, 1, 1)
    edges[:, 0, 0] = weight
    z = x @ edges.transpose(1, 2)  # [W, N, 4]
    smooth = quadratic_cost(torch.sigmoid(torch.sigmoid(z) @ last.T), y.expand(WEIGHTS, -1, -1))
    steps = (z > 0).double()
    jumping = quadratic_cost(torch.sigmoid(steps @ last.T), y.expand(WEIGHTS, -1, -1))
    (slope,) = torch.autograd.grad(smooth.sum(), weight)
    return weight.detach(), smooth.detach(), slope, jumping.detach()
