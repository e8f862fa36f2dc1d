"""The task two moons: likelihood, exact posterior, and the references of sbibm."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
import torch

from pyneural.data import TwoMoonsPosterior
from pyneural.errors import ArgumentError
from pyneural.metrics import c2st, rank_uniformity, sbc_ranks

TASK = TwoMoonsPosterior()


@pytest.fixture(scope="module")
def references():
    """All observations, from the installed package sbibm or the wheel at $SBIBM_WHEEL."""
    try:
        path = os.environ.get("SBIBM_WHEEL")
        return [TASK.reference(number, path) for number in range(1, 11)]
    except ImportError as error:
        pytest.skip(str(error))


def test_likelihood_integrates_to_one_and_is_that_of_the_simulator():
    theta = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    x = TASK.simulate(theta.expand(20_000, -1))
    step = 0.002
    # Midpoints, with a side on the jump of the density: at the crescent's centre.
    low = torch.stack([torch.tensor(0.25 - 0.4 / math.sqrt(2)).double(), x[:, 1].min() - 0.02])
    axes = [torch.arange(step / 2, 0.3, step, dtype=torch.float64) + start for start in low]
    points = torch.cartesian_prod(*axes)
    density = TASK.log_likelihood(theta.expand(len(points), -1), points).exp()
    assert float(density.sum() * step**2) == pytest.approx(1, abs=1e-5)
    entropy = -torch.xlogy(density, density).sum() * step**2
    value = -TASK.log_likelihood(theta.expand(len(x), -1), x)
    assert value.isfinite().all()
    assert abs(value.mean() - entropy) < 4 * value.std() / math.sqrt(len(x))


def test_exact_posterior_is_calibrated():
    theta = TASK.prior(500, seed=3)
    x = TASK.simulate(theta, seed=4)
    generator = torch.Generator().manual_seed(5)
    samples = torch.stack([TASK.sample_posterior(row, 99, generator) for row in x])
    assert (samples.abs() < 1).all()
    assert (rank_uniformity(sbc_ranks(theta, samples), 99) > 0.001).all()


def test_exact_posterior_has_two_crescents_that_give_the_data():
    x = TASK.simulate(torch.tensor([[0.4, 0.1]]))[0]
    samples = TASK.sample_posterior(x, 1000)
    assert 400 < (samples.sum(1) > 0).sum() < 600
    assert TASK.log_likelihood(samples, x).isfinite().all()
    other = -samples.flip(1)
    torch.testing.assert_close(TASK.log_likelihood(other, x), TASK.log_likelihood(samples, x))


def test_references_are_samples_of_the_exact_posterior(references):
    for number in (0, 4, 9):
        observation, parameters, samples = references[number]
        assert samples.shape == (10_000, 2)
        assert parameters.abs().max() < 1
        exact = TASK.sample_posterior(observation, 1000)
        assert abs(c2st(samples[:1000], exact, epochs=100) - 0.5) < 0.04


def test_references_have_the_likelihood_of_their_observation(references):
    for observation, parameters, samples in references:
        assert TASK.log_likelihood(parameters[None], observation).isfinite().all()
        found = TASK.log_likelihood(samples, observation)
        assert found.isfinite().double().mean() > 0.995  # rounding of the file at the ends


def test_seeds():
    assert torch.equal(TASK.prior(5, 1), TASK.prior(5, torch.Generator().manual_seed(1)))
    theta = TASK.prior(5)
    assert torch.equal(TASK.simulate(theta, 3), TASK.simulate(theta, 3))
    assert not torch.equal(TASK.simulate(theta, 3), TASK.simulate(theta, 4))
    assert TASK.sample_posterior(TASK.simulate(theta)[0], 0).shape == (0, 2)
    assert torch.equal(TASK.prior(np.int64(5), np.int64(1)), TASK.prior(5, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TASK.simulate(torch.ones(2)), r"simulate: theta: expected floats \[N, 2\], got"),
        (lambda: TASK.sample_posterior(torch.ones(1, 2), 3), r"x: expected floats \[2\], got"),
        (lambda: TASK.sample_posterior(torch.ones(2) * 9, 3), r"data of parameters in \(-1, 1\)"),
        (lambda: TASK.reference(0), r"reference: number: expected 1 to 10, got 0"),
        (lambda: TASK.prior(2.5), r"prior: count: expected a whole number"),
        (lambda: TASK.prior(-1), r"prior: count: expected >= 0, got -1; write 1000"),
        (
            lambda: TASK.sample_posterior(torch.zeros(2), -3),
            r"sample_posterior: count: expected >= 0, got -3",
        ),
        (
            lambda: TASK.log_likelihood(torch.zeros(3, 2), torch.zeros(4, 2)),
            r"x: expected 3 rows, as theta has, or \[2\], got 4 rows",
        ),
        (
            lambda: TASK.log_likelihood(torch.zeros(3, 2), torch.zeros(3, 1, 2)),
            r"x: expected floats \[N, 2\], got float32 \[3, 1, 2\]",
        ),
        (lambda: TASK.simulate(np.zeros((3, 2))), r"theta: expected a tensor, got ndarray"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ArgumentError, match=r"TwoMoonsPosterior\..*" + message):
        call()
