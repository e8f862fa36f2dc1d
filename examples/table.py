"""A table of measurements: what do the swings of pendulums say of g, and of wide swings?

Lengths in m, amplitudes in degrees and periods in s come as comma-separated values. A network
learns by what factor the period of a wide swing is longer than 2 pi sqrt(L / g).
Run it with: python examples/table.py
"""

import io
import math

import numpy as np
import torch

from pyneural import nn
from pyneural.models import Sequential
from pyneural.training import callbacks

G, NOISE = 9.81, 0.002  # m/s^2; relative error of a reading


def factor(amplitude):
    """Period over that of small swings: 1 / agm(1, cos(amplitude / 2)), for radians."""
    a, b = 1.0, np.cos(amplitude / 2)
    for _ in range(5):
        a, b = (a + b) / 2, np.sqrt(a * b)
    return 1 / a


def measure(count=2000):
    """A file of simulated readings."""
    random = np.random.default_rng(0)
    length, degrees = random.uniform((0.2, 0), (2, 120), (count, 2)).T
    period = 2 * math.pi * np.sqrt(length / G) * factor(np.radians(degrees))
    rows = np.stack([length, degrees, period * random.normal(1, NOISE, count)], 1)
    np.savetxt(file := io.StringIO(), rows, delimiter=",", header="length,amplitude,period")
    return io.StringIO(file.getvalue())


def main(epochs=40):
    """Learns the table; gives g and the largest relative error of the factor."""
    length, degrees, period = np.loadtxt(measure(), delimiter=",", unpack=True)  # or of a name
    y = period / (2 * math.pi * np.sqrt(length))  # the factor over sqrt(g)
    mean, std = y.mean(), y.std()
    torch.manual_seed(0)
    net = Sequential([nn.Linear(1, 32, activation="tanh"), nn.Linear(32, 1)])
    net.compile("adam", "mse")
    slower = callbacks.LearningRateScheduler(lambda epoch: 1e-2 * (1 - epoch / epochs))
    net.fit(degrees / 60 - 1, (y - mean) / std, epochs=epochs, verbose=2, callbacks=[slower])

    amplitudes = np.linspace(0, 115, 24)
    found = mean + std * net.predict(amplitudes / 60 - 1)[:, 0]
    print(f"g = {(g := float(found[0]) ** -2):.2f} m/s^2, true {G}")  # of the amplitude 0
    error = float(np.abs(found * math.sqrt(G) / factor(np.radians(amplitudes)) - 1).max())
    print(f"the factor is right to {error:.2%}, a reading to {NOISE:.1%}")
    return g, error


if __name__ == "__main__":
    main()
