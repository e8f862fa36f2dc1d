"""Problems that the Fourier solver refuses, and steps that fail."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from pyneural.pde import Box, Equation, spectral
from tests.pde.spectral.fourier_problems import Wave, burgers

TURN = 2 * math.pi
LIMIT = 1e-10


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: spectral.Fourier(lambda u: u.xx, Box(t=(0, 1), x=(0, 1)), lambda x: x),
         r"initial: .* periodic in x, got a difference of 1 .*Chebyshev"),
        (lambda: spectral.Fourier(lambda u: u.xx, Box(t=(0, 1), x=(0, 1))), "expected a function"),
        (lambda: spectral.Fourier(lambda u: u.xx, Box(t=(0, 1), x=(0, 1)), lambda y: y),
         "argument 'y'; rename"),
        (lambda: spectral.Fourier(lambda u: u.xx, Box(t=(0, 1), x=(0, 1)), lambda x: (x, x)),
         "expected 1 functions"),
        (lambda: spectral.Fourier(lambda u, v: u.xx, Box(t=(0, 1), x=(0, 1)), lambda x: 0 * x),
         "as many equations as outputs"),
        (lambda: spectral.Fourier(lambda u: u.xx - u**2, Box(x=(0, 1))), "steady nonlinear"),
        (lambda: spectral.Fourier(Wave(), Box(t=(0, 1), x=(0, 1)), lambda x: x),
         "expected the inputs t, x"),
        (lambda: burgers().solve(64), "steps: expected"),
        (lambda: burgers().solve(2, 10), "n: expected at least 4"),
        (lambda: burgers().solve(64, 10, [0.5, 0.2]), "times: expected increasing"),
        (lambda: burgers().solve(64, 10, [2.0]), r"times in \[0, 1\]"),
    ],
)  # fmt: skip
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_coefficient_of_the_time_derivative_that_varies_is_refused():
    class Porous(Equation):
        inputs, outputs = "tx", "u"

        def residual(self, u):
            return u * u.t - u.xx

    with pytest.raises(ValueError, match="divide it by them"):
        spectral.Fourier(Porous(), Box(t=(0, 1), x=(0, 1)), lambda x: 1 + 0 * x)


def test_an_unstable_step_is_named():
    problem = spectral.Fourier(
        lambda u: -20 * u**3 * u.x, Box(t=(0, 1), x=(0, TURN)), lambda x: 2 + torch.sin(x)
    )
    with pytest.raises(spectral.UnstableStepError, match="take twice the steps"):
        problem.solve(256, 10)


def test_too_few_modes_are_told():
    with pytest.warns(UserWarning, match=r"n: expected a spectrum that decays .* got \d"):
        burgers(0.01).solve(64, 100)


@pytest.mark.parametrize("rate", [lambda u, x: x * u.xx, lambda u, x: u.xx + x])
def test_coefficients_that_are_not_periodic_are_refused(rate):
    with pytest.raises(ValueError, match="coefficients and sources that are periodic in x"):
        spectral.Fourier(rate, Box(t=(0, 1), x=(0, 1)), lambda x: 1 + 0 * x)


def test_a_linear_equation_that_overflows_is_refused():
    growing = spectral.Fourier(
        lambda u: -u.xx, Box(t=(0, 1), x=(-1, 1)), lambda x: torch.sin(math.pi * x)
    )
    with pytest.raises(spectral.UnstableStepError, match=r"modes grow beyond all numbers by t="):
        growing.solve(64, 10)
