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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pyneural import optim, plots
from pyneural.demos import _fit
from pyneural.training import History, Sequential
from pyneural.training.callbacks import Callback, LearningRateScheduler

SYSTEMS = ("S13",)
SUMMARY = "Reading the loss curve: what goes wrong."
NEXT = "pyneural demo cheatsheet: what each hyperparameter does"
Samples = tuple[Tensor, Tensor]


def _wave(samples: int, noise: float, seed: int) -> Samples:
    """Noisy values of sin(4 x)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(samples, 1, generator=generator) * 2 - 1
    return x, torch.sin(4 * x) + noise * torch.randn(samples, 1, generator=generator)


def _waves(samples: int, noise: float, seed: int) -> tuple[Samples, Samples]:
    """So many samples for training, and a thousand others."""
    return _wave(samples, noise, seed), _wave(1000, noise, seed + 100)


def _eight_inputs(seed: int) -> tuple[Samples, Samples]:
    """40 samples of a noisy function of 8 variables, and 400 others."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(440, 8, generator=generator)
    y = x[:, :1] + 0.5 * torch.randn(440, 1, generator=generator)
    return (x[:40], y[:40]), (x[40:], y[40:])


def _tanh_network(inputs: int = 1, width: int = 32, dropout: float = 0.0) -> Sequential:
    layers: list[nn.Module] = []
    for before in (inputs, width):
        layers += [nn.Linear(before, width), nn.Tanh()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return Sequential([*layers, nn.Linear(width, 1)])


def _relu_network() -> Sequential:
    return Sequential([nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 1)])


@dataclass(frozen=True)
class Training:
    """A training run, perhaps with a fault; called with a seed and callbacks, it gives the history.

    ``data(seed)`` gives the samples for training and those for validation.
    """

    optimizer: str | Callable
    epochs: int
    data: Callable[[int], tuple[Samples, Samples]]
    network: Callable[[], Sequential] = _tanh_network
    callbacks: Sequence[Callback] = ()

    def __call__(self, seed: int, callbacks: Sequence[Callback] = ()) -> History:
        """Trains."""
        training, validation = self.data(seed)
        torch.manual_seed(seed)
        model = self.network()
        model.compile(self.optimizer, "mse")
        return model.fit(
            *training, epochs=self.epochs, batch_size=32, validation_data=validation,
            callbacks=[*self.callbacks, *callbacks], verbose=0,
        )  # fmt: skip


def _adam(lr: float) -> Callable:
    return partial(optim.Adam, lr=lr)


def _sgd(lr: float) -> Callable:
    return partial(torch.optim.SGD, lr=lr)


_FEW, _MANY = partial(_waves, 256, 0.1), partial(_waves, 1000, 0.1)
_SLIPS = LearningRateScheduler(lambda epoch, rate: 0.1 if epoch in (45, 55) else 3e-3)
# By the label that ``diagnose`` should find; none for the good one.
TRAINING_FAULTS = {
    "good": Training(_adam(3e-3), 50, _MANY),
    "still learning": Training(_adam(1e-3), 40, partial(_waves, 256, 0.02)),
    "overfitting": Training(_adam(2e-3), 100, _eight_inputs, partial(_tanh_network, 8, 64)),
    "validation below training": Training(  # dropout is active in training only
        _adam(5e-3), 80, _FEW, partial(_tanh_network, dropout=0.5)
    ),
    "learning rate too low": Training(_sgd(3e-6), 30, _MANY),
    "learning rate too high": Training(_adam(0.2), 60, _FEW),
    "jumps": Training("adam", 70, _MANY, callbacks=[_SLIPS]),  # too high in two epochs
    "diverged": Training(_sgd(2.0), 20, _FEW, _relu_network),  # beyond 2 / curvature
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    print("Eight training runs, and the diagnosis of their loss curves\n")
    curves = []
    for name, train in TRAINING_FAULTS.items():
        with warnings.catch_warnings():
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
    return plots.loss_gallery(curves)
