"""Training runs of small networks, each with the fault that its name says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from pyneural.training import History, Sequential
from pyneural.training.callbacks import Callback, LearningRateScheduler

Samples = tuple[Tensor, Tensor]
Callbacks = Sequence[Callback]
SGD = torch.optim.SGD


def good(seed: int, callbacks: Callbacks = ()) -> History:
    """Converged, with equal training and validation loss."""
    data, held_out = _waves(1000, 0.1, seed), _waves(1000, 0.1, seed + 100)
    adam = partial(torch.optim.Adam, lr=3e-3)
    return _train(_network(seed), adam, 50, data, held_out, callbacks)


def still_learning(seed: int, callbacks: Callbacks = ()) -> History:
    """Stopped while the loss still decreases."""
    data, held_out = _waves(256, 0.02, seed), _waves(1000, 0.02, seed + 100)
    adam = partial(torch.optim.Adam, lr=1e-3)
    return _train(_network(seed), adam, 40, data, held_out, callbacks)


def overfitting(seed: int, callbacks: Callbacks = ()) -> History:
    """A large network fits the noise of few samples."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(440, 8, generator=generator)
    y = x[:, :1] + 0.5 * torch.randn(440, 1, generator=generator)
    model = _network(seed, 64, inputs=8)
    adam = partial(torch.optim.Adam, lr=2e-3)
    return _train(model, adam, 100, (x[:40], y[:40]), (x[40:], y[40:]), callbacks)


def validation_below_training(seed: int, callbacks: Callbacks = ()) -> History:
    """Dropout is active in training and not in validation."""
    data, held_out = _waves(256, 0.1, seed), _waves(1000, 0.1, seed + 100)
    model = _network(seed, 32, dropout=0.5)
    return _train(model, partial(torch.optim.Adam, lr=5e-3), 80, data, held_out, callbacks)


def learning_rate_too_low(seed: int, callbacks: Callbacks = ()) -> History:
    """Gradient descent with steps that are too small."""
    data, held_out = _waves(1000, 0.1, seed), _waves(1000, 0.1, seed + 100)
    return _train(_network(seed), partial(SGD, lr=3e-6), 30, data, held_out, callbacks)


def learning_rate_too_high(seed: int, callbacks: Callbacks = ()) -> History:
    """The steps are too large to settle in the minimum."""
    data, held_out = _waves(256, 0.1, seed), _waves(1000, 0.1, seed + 100)
    adam = partial(torch.optim.Adam, lr=0.2)
    return _train(_network(seed), adam, 60, data, held_out, callbacks)


def jumps(seed: int, callbacks: Callbacks = ()) -> History:
    """The learning rate is far too high in two of the epochs."""
    data, held_out = _waves(1000, 0.1, seed), _waves(1000, 0.1, seed + 100)
    slips = LearningRateScheduler(lambda epoch, rate: 0.1 if epoch in (45, 55) else 3e-3)
    return _train(_network(seed), "adam", 70, data, held_out, [slips, *callbacks])


def diverged(seed: int, callbacks: Callbacks = ()) -> History:
    """Gradient descent with a step beyond 2 / curvature."""
    data, held_out = _waves(256, 0.1, seed), _waves(1000, 0.1, seed + 100)
    torch.manual_seed(seed)
    model = Sequential([nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 1)])
    return _train(model, partial(SGD, lr=2.0), 20, data, held_out, callbacks)


# By the label that ``diagnose`` should find; none for the good one.
TRAINING_FAULTS: dict[str, Callable[[int, Callbacks], History]] = {
    function.__name__.replace("_", " "): function
    for function in (
        good,
        still_learning,
        overfitting,
        validation_below_training,
        learning_rate_too_low,
        learning_rate_too_high,
        jumps,
        diverged,
    )
}


def _waves(samples: int, noise: float, seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(samples, 1, generator=generator) * 2 - 1
    return x, torch.sin(4 * x) + noise * torch.randn(samples, 1, generator=generator)


def _network(seed: int, width: int = 32, dropout: float = 0.0, inputs: int = 1) -> Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [
        nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()
    ]  # fmt: skip
    if dropout:
        layers = [*layers[:2], nn.Dropout(dropout), *layers[2:], nn.Dropout(dropout)]
    return Sequential([*layers, nn.Linear(width, 1)])


def _train(
    model: Sequential,
    optimizer: str | Callable,
    epochs: int,
    data: Samples,
    validation: Samples,
    callbacks: Callbacks,
) -> History:
    model.compile(optimizer, "mse")
    return model.fit(
        *data, epochs=epochs, batch_size=32, validation_data=validation, callbacks=callbacks,
        verbose=0,
    )  # fmt: skip
