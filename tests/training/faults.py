"""Real trainings, each with the fault that its name says, for the tests of the diagnosis."""

from functools import partial

import torch
from torch import nn

from pyneural.training import History, Sequential
from pyneural.training.callbacks import LearningRateScheduler

SGD = torch.optim.SGD


def _waves(samples, noise, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(samples, 1, generator=generator) * 2 - 1
    return x, torch.sin(4 * x) + noise * torch.randn(samples, 1, generator=generator)


def _network(seed, width=32, dropout=0.0, inputs=1):
    torch.manual_seed(seed)
    layers = [nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()]
    if dropout:
        layers[2:2] = [nn.Dropout(dropout)]
        layers += [nn.Dropout(dropout)]
    return Sequential([*layers, nn.Linear(width, 1)])


def _train(model, optimizer, epochs, data, validation, batch_size=32) -> History:
    model.compile(optimizer, "mse")
    return model.fit(
        *data, epochs=epochs, batch_size=batch_size, validation_data=validation, verbose=0
    )


def good(seed):
    """Flat at the end, validation like training."""
    data, held_out = _waves(1000, 0.1, seed), _waves(1000, 0.1, seed + 100)
    return _train(_network(seed), partial(torch.optim.Adam, lr=3e-3), 50, data, held_out)


def still_learning(seed):
    """Stopped while the loss falls."""
    data, held_out = _waves(256, 0.02, seed), _waves(1000, 0.02, seed + 100)
    return _train(_network(seed), partial(torch.optim.Adam, lr=1e-3), 40, data, held_out)


def overfitting(seed):
    """A large network learns the noise of few samples."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(440, 8, generator=generator)
    y = x[:, :1] + 0.5 * torch.randn(440, 1, generator=generator)
    model = _network(seed, 64, inputs=8)
    adam = partial(torch.optim.Adam, lr=2e-3)
    return _train(model, adam, 100, (x[:40], y[:40]), (x[40:], y[40:]))


def validation_below_training(seed):
    """Dropout works in training and not in validation."""
    data, held_out = _waves(256, 0.1, seed), _waves(1000, 0.1, seed + 100)
    model = _network(seed, 32, dropout=0.5)
    return _train(model, partial(torch.optim.Adam, lr=5e-3), 80, data, held_out)


def rate_too_low(seed):
    """Plain gradient descent creeps."""
    data, held_out = _waves(1000, 0.1, seed), _waves(1000, 0.1, seed + 100)
    return _train(_network(seed), partial(SGD, lr=3e-6), 30, data, held_out)


def rate_too_high(seed):
    """The steps are too long to settle in the minimum."""
    data, held_out = _waves(256, 0.1, seed), _waves(1000, 0.1, seed + 100)
    return _train(_network(seed), partial(torch.optim.Adam, lr=0.2), 60, data, held_out)


def jumps(seed):
    """Two epochs have a learning rate that is far too high."""
    data, held_out = _waves(1000, 0.1, seed), _waves(1000, 0.1, seed + 100)
    model = _network(seed)
    model.compile("adam", "mse")
    slips = LearningRateScheduler(lambda epoch, rate: 0.1 if epoch in (45, 55) else 3e-3)
    return model.fit(*data, epochs=70, validation_data=held_out, callbacks=[slips], verbose=0)


def diverged(seed):
    """Gradient descent beyond 2 / curvature."""
    data, held_out = _waves(256, 0.1, seed), _waves(1000, 0.1, seed + 100)
    torch.manual_seed(seed)
    model = Sequential([nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 1)])
    return _train(model, partial(SGD, lr=2.0), 20, data, held_out)


FAULTS = {
    function.__name__: function
    for function in (
        good,
        still_learning,
        overfitting,
        validation_below_training,
        rate_too_low,
        rate_too_high,
        jumps,
        diverged,
    )
}
