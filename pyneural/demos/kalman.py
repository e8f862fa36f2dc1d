"""A state-space model: Kalman filter and smoother for a noisy oscillation.

The state is position and velocity of a randomly driven oscillator; the
position is observed with noise, and for a while not at all. The variances are
estimated from the observations by maximum likelihood and by expectation-
maximisation; filter and smoother then estimate the state. Prints estimates,
errors and the coverage of the 95 % intervals; writes kalman.png.
"""

from __future__ import annotations

import argparse
import math

from torch import Tensor

from pyneural import plots
from pyneural.demos._options import whole
from pyneural.models import StateSpaceModel, fit_by_em, fit_by_likelihood, pushed_oscillator

SYSTEMS = ("S33",)
SUMMARY = "State-space model: Kalman filter, smoother."
NEXT = "pyneural demo rnn: a network that learns to filter"
QUICK = ("--iterations", "8")
MOTION = 0.25, 0.02  # angular frequency and damping rate, per unit of time
PUSH, NOISE, GAP = 0.01, 0.6, slice(90, 110)  # variances of the random driving and of a reading
FREE = ("process_noise", "observation_noise")
SERIES = 200  # to measure the coverage of the intervals
OPTIONS = {
    "--steps": whole("observations in the series", 200, low=120, high=5000),
    "--iterations": whole("maximum number of steps of each fit", 40, low=1),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    model = pushed_oscillator(*MOTION, PUSH, NOISE)
    x, y = model.simulate(args.steps, seed=args.seed)
    y[GAP] = math.nan
    print("A randomly driven oscillator, its position read with noise\n")
    start = pushed_oscillator(*MOTION, 10 * PUSH, 0.2 * NOISE)
    fits = {
        "maximum likelihood": fit_by_likelihood(start, y, FREE, args.iterations),
        "EM": fit_by_em(start, y, FREE, args.iterations),
    }
    best, guess = (float(each.filter(y).log_likelihood) for each in (model, start))
    print("  variance of       driving    reading   log-likelihood")
    print(f"  {'truth':<19}{PUSH:6.4f}{NOISE:11.3f}{best:17.2f}")
    print(f"  {'first guess':<19}{10 * PUSH:6.4f}{0.2 * NOISE:11.3f}{guess:17.2f}")
    for name, fit in fits.items():
        push, reading = fit.model.process_noise[1, 1], fit.model.observation_noise[0, 0]
        print(f"  {name:<19}{push:6.4f}{reading:11.3f}{fit.log_likelihoods[-1]:17.2f}")
    found = fits["maximum likelihood"].model
    filtered, smoothed = found.filter(y), found.smooth(y)
    print("\n  position             error (rms)")
    print(f"  {'readings':<19}{_rms(y - x[:, :1]):13.3f}")
    print(f"  {'filter':<19}{_rms(filtered.mean[:, :1] - x[:, :1]):13.3f}")
    print(f"  {'smoother':<19}{_rms(smoothed.mean[:, :1] - x[:, :1]):13.3f}")
    held = _coverage(model, args.steps, args.seed)
    print(f"\n  95 % intervals contain the state, in {SERIES} series: {held:.1%}\n")
    bands = {
        name: (known.mean[:, 0], known.covariance[:, 0, 0].sqrt())
        for name, known in (
            ("Kalman filter: from the observations up to each step", filtered),
            ("Smoother: from the observations of the whole series", smoothed),
        )
    }
    curves = {name: fit.log_likelihoods for name, fit in fits.items()}
    return plots.state_space(x[:, 0], y[:, 0], bands, curves, best)


def _rms(error: Tensor) -> float:
    return float(error[~error.isnan()].square().mean().sqrt())


def _coverage(model: StateSpaceModel, steps: int, seed: int) -> float:
    """Fraction of states, over series and steps, within the smoother's 95 % intervals."""
    x, y = model.simulate(steps, seed + 1, series=SERIES)
    y[:, GAP] = math.nan
    known = model.smooth(y)
    deviation = known.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    return float(((known.mean - x).abs() < 1.959964 * deviation).double().mean())
