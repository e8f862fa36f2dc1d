"""One training of the sweeps: how fast is an oscillator damped, from noisy readings?"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pyneural import optim
from pyneural.errors import check_argument
from pyneural.experiments.threads import one_thread
from pyneural.layers import Dense
from pyneural.models import damped_oscillation
from pyneural.training import Sequential
from pyneural.training.callbacks import Callback

REGRESSION, CLASSIFICATION = "regression", "classification"
READINGS, NOISE = 20, 0.1  # of an oscillator that is released at 1
FREQUENCIES, RATES = (1.0, 2.0), (0.0, 0.3)  # radians and damping rate, per unit of time
STEP = 0.5  # time between two readings
SERIES, HELD_OUT = 100, 2000  # oscillators for training, and others
TARGET = 0.4  # error on the training set up to which the time is measured
OPTIMIZERS: dict[str, Callable] = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
    "adam": optim.Adam,
}


@dataclass(frozen=True)
class Setup:
    """The hyperparameters of a training; a sweep changes one or two of them.

    Attributes:
        task: "regression", the damping rate, or "classification", whether it is above its median.
        width, depth: units of a hidden layer (tanh), and number of these.
        epochs: passes through the training set.
        loss, last: name of the loss, and activation of the last layer.
        optimizer, rate: name in OPTIMIZERS, and learning rate.
        batch: series of an update.
        scaled: whether all readings have one unit; else those of each time have another one, from
            1/30 to 30 of the first, as quantities of different kinds have.
    """

    task: str = REGRESSION
    width: int = 32
    depth: int = 2
    epochs: int = 60
    loss: str = "mean_squared_error"
    last: str = "linear"
    optimizer: str = "adam"
    rate: float = 3e-3
    batch: int = 20
    scaled: bool = True

    def __post_init__(self) -> None:
        for name, known in (("task", [REGRESSION, CLASSIFICATION]), ("optimizer", [*OPTIMIZERS])):
            value = getattr(self, name)
            expected = f"one of {', '.join(known)}"
            check_argument(value in known, f"Setup: {name}", expected, value, "choose one of these")


def draw(setup: Setup, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Readings of oscillators [N, 20], and what is asked of them [N, 1].

    The damping rate is given in units of its standard deviation, from its mean; for a loss of
    numbers between 0 and 1, as a share of the largest. Classes are 0 and 1.

    >>> x, y = draw(Setup(), 3, seed=0)
    >>> x.shape, y.shape
    (torch.Size([3, 20]), torch.Size([3, 1]))
    """
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.empty(count).uniform_(*FREQUENCIES, generator=generator)
    rate = torch.rand(count, 1, generator=generator)  # as a share of the largest
    times = [STEP * index for index in range(READINGS)]
    x = damped_oscillation(frequency, rate[:, 0] * RATES[1], times)
    x = x + NOISE * torch.randn(count, READINGS, generator=generator)
    if not setup.scaled:
        x = x * torch.logspace(-1.5, 1.5, READINGS)[torch.arange(READINGS) * 7 % READINGS]
    if setup.task == CLASSIFICATION:
        return x, (rate > 0.5).float()
    return x, rate if setup.loss == "binary_crossentropy" else (rate - 0.5) * math.sqrt(12)


def train(setup: Setup, seed: int) -> dict[str, float | list[float] | None]:
    """Trains a network from a seed, which draws data and weights too.

    Returns:
        ``training`` and ``held_out``: errors at the end. The error is the root mean square of what
        is wrong in the damping rate, as a share of its standard deviation, so that 1 is that of the
        mean; or the share of wrong classes. A training that diverged has the error of a guess.
        ``training_curve`` and ``held_out_curve``: both after each epoch.
        ``epoch_seconds``: processor time of an epoch, without the measurement of errors.
        ``target_epochs``, ``target_seconds``: until the training error was below 0.4 (of
        regressions); None where it never was.

    >>> sorted(train(Setup(epochs=2), seed=0))[:3]
    ['epoch_seconds', 'held_out', 'held_out_curve']
    """
    training, held_out = draw(setup, SERIES, 2 * seed), draw(setup, HELD_OUT, 2 * seed + 1)
    torch.manual_seed(seed)
    sizes = [setup.width] * setup.depth
    hidden = [
        Dense(sizes[0], "tanh", input_shape=(READINGS,)),
        *(Dense(n, "tanh") for n in sizes[1:]),
    ]
    model = Sequential([*hidden, Dense(1, setup.last)])
    optimizer = partial(OPTIMIZERS[setup.optimizer], lr=setup.rate)
    curves = _Curves(partial(_error, setup, *training), partial(_error, setup, *held_out))
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")  # some setups are wrong or diverge on purpose
        model.compile(optimizer, setup.loss)
        model.fit(
            *training, batch_size=setup.batch, epochs=setup.epochs, verbose=0, callbacks=[curves]
        )
    reached = [epoch + 1 for epoch, error in enumerate(curves.training) if error < TARGET]
    reached = reached[:1] if setup.task == REGRESSION else []
    seconds = curves.seconds / len(curves.training)
    return {
        "training": curves.training[-1],
        "held_out": curves.held_out[-1],
        "epoch_seconds": seconds,
        "target_epochs": reached[0] if reached else None,
        "target_seconds": reached[0] * seconds if reached else None,
        "training_curve": curves.training,
        "held_out_curve": curves.held_out,
    }


class _Curves(Callback):
    """Errors after each epoch; the clock stands while they are measured."""

    def __init__(self, *errors: Callable[[Sequential], float]) -> None:
        self._errors = errors
        self.training: list[float] = []
        self.held_out: list[float] = []
        self.seconds = 0.0

    def on_epoch_begin(self, epoch: int) -> None:
        """The clock goes on."""
        self._began = time.process_time()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """The clock stops; measures."""
        self.seconds += time.process_time() - self._began
        for curve, error in zip((self.training, self.held_out), self._errors, strict=True):
            curve.append(error(self.run.model))


@torch.no_grad()
def _error(setup: Setup, x: Tensor, y: Tensor, model: Sequential) -> float:
    guess, least = (0.5, 0.5 / len(x)) if setup.task == CLASSIFICATION else (1.0, 0.0)
    prediction = model(x)
    if not bool(prediction.isfinite().all()):
        return guess
    if setup.task == CLASSIFICATION:
        wrong = ((prediction > 0.5) != (y > 0.5)).float().mean()
        return max(float(wrong), least)
    scale = math.sqrt(12) if setup.loss == "binary_crossentropy" else 1.0
    # In float64, as the square of what a diverging network predicts may be infinite in float32.
    return scale * float((prediction - y).double().square().mean().sqrt())
