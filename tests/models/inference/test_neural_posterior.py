"""Neural posterior estimation where the posterior is known, and what it refuses."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from pyneural.errors import ArgumentError
from pyneural.metrics import conformal_level, expected_coverage, sbc_ranks, tarp
from pyneural.models import MAF, NCSF, NSF, NeuralPosterior
from pyneural.training import Adam, CheckpointError, TensorBatches, Trainer

UNITS, OFFSET, NOISE = torch.tensor([1000.0, 0.01]), torch.tensor([5e3, 0.0]), 0.5
VARIANCE = NOISE**2 / (1 + NOISE**2)  # of theta given x, for theta ~ N(0, 1)


def simulate(count, seed=0):
    """theta ~ N(0, 1)^2 and x = theta + noise, in units that differ by 10^5."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(count, 2, generator=generator)
    x = theta + NOISE * torch.randn(count, 2, generator=generator)
    return theta, OFFSET + UNITS * x


def exact(x):
    mean = (x - OFFSET) / UNITS / (1 + NOISE**2)
    return torch.distributions.Normal(mean, math.sqrt(VARIANCE))


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    posterior = NeuralPosterior(MAF(2, context=2, transforms=2, hidden_features=[32]))
    posterior.compile("adam")
    theta, x = simulate(4000)
    posterior.fit(theta, x, batch_size=50, epochs=10, verbose=0)
    return posterior


def test_posterior_of_a_gaussian(trained):
    theta, x = simulate(1000, seed=1)
    entropy = -exact(x).log_prob(theta).sum(1).mean()
    assert abs(trained.evaluate(theta, x) - entropy) < 0.05
    samples = trained.sample(x[:5], 4000)
    assert samples.shape == (5, 4000, 2)
    torch.testing.assert_close(samples.mean(1), exact(x[:5]).mean, atol=0.1, rtol=0)
    torch.testing.assert_close(samples.var(1), torch.full((5, 2), VARIANCE), atol=0.05, rtol=0)


def test_it_is_calibrated(trained):
    theta, x = simulate(1000, seed=2)
    samples = trained.sample(x, 99)
    assert tarp(theta, samples).deviation < 0.06
    ranks = sbc_ranks(theta, samples).double() / 99
    assert abs(ranks.mean() - 0.5) < 0.04
    assert expected_coverage(trained.credible_level(theta, x, 200)).deviation < 0.06


def test_one_observation_and_several_are_the_same(trained):
    theta, x = simulate(3, seed=3)
    of_each = torch.stack([trained.log_prob(theta, row) for row in x])
    torch.testing.assert_close(of_each.diagonal(), trained.log_prob(theta, x))
    torch.manual_seed(0)
    one = trained.sample(x[0], 7)
    torch.manual_seed(0)
    assert torch.equal(trained.sample(x[:1], 7)[0], one)
    assert torch.equal(trained.log_prob(theta.numpy(), x.numpy()), trained.log_prob(theta, x))


def test_samples_in_parts_are_those_of_their_own_data(trained, monkeypatch):
    monkeypatch.setattr("pyneural.models.inference.neural_posterior._SAMPLES_AT_ONCE", 300)
    torch.manual_seed(0)
    theta, x = simulate(10, seed=4)
    means = trained.sample(x, 200).mean(1)
    torch.testing.assert_close(means, exact(x).mean, atol=0.2, rtol=0)
    levels = trained.credible_level(theta, x, 200)
    torch.manual_seed(0)
    monkeypatch.undo()
    torch.testing.assert_close(levels, trained.credible_level(theta, x, 2000), atol=0.15, rtol=0)


def test_credible_level_is_that_of_a_gaussian(trained):
    """The share of N(m, s^2)^2 that is denser than theta is 1 - exp(-r^2 / 2)."""
    _, x = simulate(1, seed=5)
    for radius in (0.5, 1.0, 2.0):
        theta = exact(x).mean + radius * torch.tensor([[math.sqrt(VARIANCE), 0.0]])
        level = float(trained.credible_level(theta, x, 5000))
        assert abs(level - (1 - math.exp(-(radius**2) / 2))) < 0.12


def test_threshold_is_the_edge_of_the_region(trained):
    _, x = simulate(1, seed=6)
    for level in (0.0, 0.5, 0.9):
        threshold = trained.density_threshold(x[0], level, 5000)
        share = trained.log_prob(trained.sample(x[0], 5000), x[0]) >= threshold
        assert abs(float(share.double().mean()) - level) < 0.03
    assert trained.density_threshold(x[0], 1.0) == -math.inf


def test_threshold_and_credible_level_count_the_same_samples(trained):
    theta, x = simulate(1, seed=7)
    for seed in range(20):
        torch.manual_seed(seed)
        level = float(trained.credible_level(theta, x, 50))
        for wanted in (level - 0.02, level, level + 0.02):
            if 0 <= wanted <= 1:
                torch.manual_seed(seed)
                threshold = trained.density_threshold(x[0], wanted, 50)
                inside = bool(trained.log_prob(theta, x[0]) >= threshold)
                assert inside == (wanted > level - 0.01), (seed, level, wanted)


def test_correction_holds_for_a_posterior_that_is_too_narrow(trained):
    narrow = copy.deepcopy(trained)
    with torch.no_grad():
        narrow.flow.base.scale *= 0.7
    # Levels near 1 are what the correction is about: many samples, so that they are fine enough.
    levels = narrow.credible_level(*simulate(2000, seed=8), samples=1000)
    new = narrow.credible_level(*simulate(2000, seed=9), samples=1000)
    assert (new <= 0.9).double().mean() < 0.8
    assert abs((new <= conformal_level(levels, 0.9)).double().mean() - 0.9) < 0.03


def test_data_beyond_the_simulated_ones_are_warned_of(trained, tmp_path):
    trained.save(tmp_path / "posterior.safetensors")
    loaded = copy.deepcopy(trained)
    loaded.load(tmp_path / "posterior.safetensors")
    inside, outside = trained.mean.clone(), trained.most + 1
    for posterior in (trained, loaded):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            posterior.sample(inside, 2)
            posterior.sample(torch.stack([inside, outside]), 2)
        for call in (
            lambda one: one.sample(outside, 2),
            lambda one: one.density_threshold(outside, 0.9),
            lambda one: one.log_prob(one.sample(inside, 2), outside),
        ):
            with pytest.warns(UserWarning, match=r"x: \d of \d measured values lie beyond all"):
                call(posterior)


def test_bounds_have_no_density_outside_and_no_samples():
    torch.manual_seed(0)
    theta = torch.rand(500, 1)
    x = theta + torch.randn(500, 1)
    posterior = NeuralPosterior(NSF(1, context=1, transforms=1, bounds=[(0, 1)]))
    posterior.compile("adam")
    posterior.fit(theta, x, verbose=0)
    samples = posterior.sample(x, 100)
    assert ((samples >= 0) & (samples <= 1)).all()
    outside = posterior.log_prob([[-0.1], [0.5], [1.1]], x[0])
    assert outside.isinf().tolist() == [True, False, True]
    grid = (torch.arange(1000) + 0.5)[:, None] / 1000
    assert abs(float(posterior.log_prob(grid, x[0]).exp().mean()) - 1) < 1e-3


def test_embedding_is_trained_and_data_are_standardised():
    torch.manual_seed(0)
    theta = torch.randn(400, 1)
    images = 1e4 * (theta[:, :, None] + torch.randn(400, 4, 5))
    images[:, 0, 0] = 7.0  # a dead pixel tells nothing
    embedding = nn.Sequential(nn.Flatten(), nn.Linear(20, 3))
    posterior = NeuralPosterior(MAF(1, context=3, transforms=1), embedding)
    before = embedding[1].weight.clone()
    posterior.compile("adam")
    history = posterior.fit(theta, images, epochs=30, verbose=0)
    assert posterior.mean.shape == posterior.std.shape == (4, 5)
    assert posterior.std[0, 0] == 1
    assert not torch.equal(embedding[1].weight, before)
    assert history["loss"][-1] < 0.5  # 1.42 without the data, 0.0 exactly
    assert posterior.sample(images[0], 6).shape == (6, 1)
    assert posterior.log_prob(theta[:2], images[:2]).shape == (2,)


def test_file_has_whitening_and_standardisation(trained, tmp_path):
    trained.save(tmp_path / "posterior.safetensors")
    again = NeuralPosterior(MAF(2, context=2, transforms=2, hidden_features=[32]))
    again.load(tmp_path / "posterior.safetensors")
    theta, x = simulate(5)
    assert torch.equal(again.log_prob(theta, x), trained.log_prob(theta, x))
    other = NeuralPosterior(MAF(2, context=2, transforms=3))
    state = copy.deepcopy(other.state_dict())
    with pytest.raises(CheckpointError, match="make the one that was saved"):
        other.load(tmp_path / "posterior.safetensors")
    assert other.state_dict().keys() == state.keys()
    assert other.mean.shape == ()
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())


def test_resumed_training_is_the_same_bit_by_bit(tmp_path):
    theta, x = simulate(200)
    weights = []
    for epochs in ([4], [2, 4]):
        for n in epochs:
            torch.manual_seed(0)
            posterior = NeuralPosterior(NSF(2, context=2, transforms=1))
            posterior.compile("adam")
            path = tmp_path / f"{len(epochs)}.safetensors"
            posterior.fit(theta, x, epochs=n, verbose=0, checkpoint=path, resume=True)
        weights.append(posterior.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_standardisation_stays_in_a_second_fit():
    theta, x = simulate(100)
    posterior = NeuralPosterior(MAF(2, context=2, transforms=1))
    posterior.compile("adam")
    posterior.fit(theta, x, verbose=0)
    torch.testing.assert_close(posterior.mean, x.mean(0))
    torch.testing.assert_close(posterior.std, x.std(0))
    mean = posterior.mean.clone()
    posterior.fit(theta, x + 1, verbose=0)
    assert torch.equal(posterior.mean, mean)


def test_angles_are_not_whitened():
    theta, x = simulate(100)
    theta = theta.remainder(2 * math.pi) - math.pi
    posterior = NeuralPosterior(NCSF(2, context=2, transforms=1))
    posterior.compile("adam")
    posterior.fit(theta, x, verbose=0)
    assert not posterior.flow.whitened
    torch.testing.assert_close(posterior.mean, x.mean(0))


def test_standardisation_may_be_left_out():
    theta, x = simulate(100)
    posterior = NeuralPosterior(MAF(2, context=2, transforms=1))
    posterior.compile("adam")
    for whiten in (False, True):  # weights that were trained without it go on without it
        posterior.fit(theta, x, whiten=whiten, verbose=0)
        assert posterior.mean.tolist() == [0, 0]
        assert not posterior.flow.whitened


def test_float64_frames_and_a_trainer():
    pandas = pytest.importorskip("pandas")
    theta, x = simulate(100)
    frames = pandas.DataFrame(theta.numpy()), pandas.DataFrame(x.numpy(), columns=["a", "b"])
    posterior = NeuralPosterior(MAF(2, context=2, transforms=1)).double()
    posterior.compile("adam")
    posterior.fit(*frames, verbose=0)
    assert posterior.mean.dtype == torch.float64
    assert posterior.sample(np.asarray(x[0]), 3).dtype == torch.float64
    batches = TensorBatches(theta.double(), x.double(), batch_size=20)
    report = Trainer(posterior, [Adam(5)], batches=batches, progress=False).fit()
    assert len(report.history["loss"]) > 0


def unbounded():
    posterior = NeuralPosterior(MAF(2, context=2, transforms=1))
    posterior.compile("adam")
    return posterior


def nan_in(x, *rows):
    x = x.clone()
    x[list(rows), 0] = math.nan
    return x


THETA, X = simulate(20)
INSIDE = THETA.clamp(-0.9, 0.9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p: p.fit(THETA, X[:19]),
            r"fit: x: expected 20 rows, as theta has, got 19",
        ),
        (lambda p: p.fit(THETA), r"fit: x: expected an array of numbers"),
        (
            lambda p: p.fit(THETA, nan_in(X, 3, 7)),
            r"fit: x: expected finite numbers, got 2 of 20 simulations with NaN or infinity "
            r"\(first: row 3\); leave them out of theta and x",
        ),
        (lambda p: p.fit(nan_in(THETA, 2), X), r"fit: theta: expected finite numbers, got 1 of 20"),
        (
            lambda p: p.fit(THETA[:, :1], X),
            r"fit: theta: expected \[N, 2\], got \[20, 1\]; one",
        ),
        (
            lambda p: p.fit(2 * THETA.clamp(-1, 1), X),
            r"NeuralPosterior.fit: theta: expected column 0 in \[-1, 1\], got .*; correct them, or",
        ),
        (
            lambda p: p.fit(INSIDE, X, validation_data=(INSIDE, nan_in(X, 3))),
            r"fit: validation_data: y: expected finite numbers, got 1 of 20 simulations",
        ),
        (
            lambda p: p.fit(INSIDE, X, validation_data=(INSIDE, X[:, :1])),
            r"fit: validation_data: y: expected \[20, 2\], got \[20, 1\]; simulate as for",
        ),
        (
            lambda p: p.fit(INSIDE, X, validation_data=(2 * INSIDE, X)),
            r"fit: validation_data: x: expected column 0 in \[-1, 1\]",
        ),
        (
            lambda _: unbounded().fit(THETA[:, [0, 0]], X),
            r"NeuralPosterior.fit: theta: expected columns of which none is a linear combination",
        ),
        (lambda p: NeuralPosterior(torch.nn.Linear(2, 2)), r"flow: expected a Flow .*, got Linear"),
        (lambda p: p.fit(THETA * 0, X), r"fit: theta: expected columns that vary, got column 0 c"),
        (
            lambda p: p.sample(X[0, :1], 5),
            r"sample: x: expected \[2\] or \[N, 2\], as fit had",
        ),
        (lambda p: p.sample(torch.ones(4, 3), 5), r"sample: x: expected \[2\] or .*, got \[4, 3\]"),
        (lambda p: p.sample(X[0], 0), r"sample: count: expected a whole number >= 1, got 0"),
        (lambda p: p.sample(X[0] / 0, 5), r"sample: x: expected finite numbers, got 1 of 1"),
        (lambda p: p.log_prob(THETA, X[:5]), r"log_prob: x: expected 20 rows, as theta has, got 5"),
        (lambda p: p.credible_level(THETA + 9, X), r"credible_level: theta: expected column 0 in"),
        (lambda p: p.credible_level(THETA[:1], X[0]), r"credible_level: x: expected data of 1 sim"),
        (lambda p: p.density_threshold(X, 0.9), r"x: expected data of one experiment, got 20 of"),
        (lambda p: p.density_threshold(X[0], 90), r"level: expected 0 to 1, got 90; write 0.9 for"),
    ],
)
def test_bad_input_is_named(call, message):
    torch.manual_seed(0)
    bounds = [(-1, 1), (-1, 1)]
    posterior = NeuralPosterior(NSF(2, context=2, transforms=1, bounds=bounds))
    posterior.compile("adam")
    posterior.fit(INSIDE, X, verbose=0)
    with pytest.raises((ValueError, TypeError), match=message):
        call(posterior)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ArgumentError, match=r"flow: expected one with a context, got one without"):
        NeuralPosterior(NSF(2))
    with pytest.raises(NotImplementedError, match=r"write posterior.sample\(x, 1000\)"):
        NeuralPosterior(NSF(2, context=1)).predict(X)
    with pytest.raises(ValueError, match=r"mixed_precision: expected None, got torch.bfloat16"):
        NeuralPosterior(NSF(2, context=1)).compile("adam", mixed_precision=torch.bfloat16)
