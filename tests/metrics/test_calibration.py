"""TARP and ranks where the posterior is known: exact, of wrong width, shifted, the prior."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.metrics import rank_uniformity, sbc_ranks, tarp

N, S, D = 1000, 99, 2


def posterior(width=1.0, shift=0.0, seed=0):
    """theta ~ N(0, 1), x | theta ~ N(theta, 1): the posterior is N(x / 2, 1 / 2)."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(N, D, generator=generator)
    x = truth + torch.randn(N, D, generator=generator)
    noise = torch.randn(N, S, D, generator=generator)
    return truth, x[:, None] / 2 + shift + width * math.sqrt(0.5) * noise, x


def below(coverage, level):
    return float(coverage.coverage[round(level * 100)])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exact_posterior_is_calibrated(seed):
    truth, samples, _ = posterior(seed=seed)
    assert tarp(truth, samples, seed=seed).deviation < 1.63 / math.sqrt(N)  # 99 % of Kolmogorov
    assert (rank_uniformity(sbc_ranks(truth, samples), S) > 0.001).all()


@pytest.mark.parametrize("width", [0.6, 1.6])
def test_wrong_width_is_found(width):
    truth, samples, _ = posterior(width)
    curve, sign = tarp(truth, samples), 1 if width < 1 else -1
    assert sign * (below(curve, 0.1) - 0.1) > 0.03
    assert sign * (below(curve, 0.9) - 0.9) < -0.03
    ranks = sbc_ranks(truth, samples)
    assert (rank_uniformity(ranks, S) < 1e-6).all()
    edges = ((ranks < 10) | (ranks >= 90)).double().mean()
    assert sign * (edges - 0.2) > 0.05


def test_shift_is_found():
    truth, samples, _ = posterior(shift=0.3)
    ranks = sbc_ranks(truth, samples)
    assert (rank_uniformity(ranks, S) < 1e-6).all()
    assert ranks.double().mean() < S / 2 - 5


def test_prior_is_found_by_references_that_depend_on_the_data():
    truth, samples, x = posterior()
    generator = torch.Generator().manual_seed(5)
    prior = torch.randn(samples.shape, generator=generator)
    assert tarp(truth, prior).deviation < 1.63 / math.sqrt(N)
    assert tarp(truth, prior, references=x).deviation > 0.15
    assert tarp(truth, samples, references=x).deviation < 1.63 / math.sqrt(N)


def test_coverage_is_that_of_a_count_by_hand():
    """One parameter, the reference at 0: f is the rank of |theta|."""
    truth, samples, _ = posterior()
    truth, samples = truth[:, :1], samples[:, :, :1]
    curve = tarp(truth, samples, references=torch.zeros(N, 1))
    rank = (samples.abs() < truth.abs()[:, None]).sum(1).double().flatten()
    for level in (0.1, 0.5, 0.9):
        by_hand = (rank / S < level).double().mean()
        assert abs(below(curve, level) - by_hand) < 0.015
    assert curve.levels[[0, -1]].tolist() == [0, 1]
    assert curve.coverage[[0, -1]].tolist() == [0, 1]
    assert (curve.coverage.diff() >= 0).all()


def test_units_do_not_matter():
    truth, samples, _ = posterior()
    scale = torch.tensor([1e3, 1e-3])
    curve, scaled = tarp(truth, samples), tarp(truth * scale, samples * scale)
    assert (curve.coverage - scaled.coverage).abs().max() <= 2 / N  # ties by rounding


def test_ranks_are_uniform_and_p_values_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    ranks = torch.randint(S + 1, (500, 3), generator=torch.Generator().manual_seed(0))
    found = rank_uniformity(ranks, S, bins=20)
    for column, value in zip(ranks.T, found, strict=True):
        counts = torch.bincount(column // 5, minlength=20)
        assert float(value) == pytest.approx(stats.chisquare(counts).pvalue, abs=1e-10)


def test_bins_that_do_not_divide_the_ranks():
    """Eleven ranks in four bins: each bin is expected what its ranks are worth."""
    ranks = torch.arange(11).repeat(10)[:, None]
    assert rank_uniformity(ranks, 10, bins=4).item() == pytest.approx(1)
    assert rank_uniformity(ranks, 10, bins=50).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tarp(torch.ones(5, 2), torch.ones(4, 9, 2)), r"tarp: truth and samples: expected"),
        (lambda: sbc_ranks(torch.ones(5, 2), torch.ones(5, 0, 2)), r"none of them empty, got"),
        (lambda: tarp(torch.ones(5, 2) / 0, torch.ones(5, 9, 2)), r"truth: expected finite"),
        (lambda: sbc_ranks(torch.ones(5, 2), torch.ones(5, 9, 2) / 0), r"samples: expected finite"),
        (lambda: tarp(torch.ones(5, 2), torch.ones(5, 9, 2), levels=1), r"levels: expected >= 2"),
        (
            lambda: tarp(torch.ones(5, 2), torch.ones(5, 9, 2), references=torch.ones(2)),
            r"references: expected \[5, 2\], got \[2\]; give",
        ),
        (
            lambda: rank_uniformity(torch.ones(9, 2).long(), 99),
            r"expected \[N, D\] with N >= 5 bin",
        ),
        (
            lambda: rank_uniformity(torch.full((200, 1), 7), 5),
            r"ranks: expected 0 to 5, got 7 to 7; samples",
        ),
        (
            lambda: rank_uniformity(torch.rand(200, 1), 5),
            r"ranks: expected whole numbers, got float32; give those of sbc_ranks",
        ),
        (
            lambda: tarp(torch.ones(5, 2), torch.ones(5, 9, 2), references=torch.ones(5, 2) / 0),
            r"references: expected finite numbers, got NaN",
        ),
        (
            lambda: tarp(torch.ones(5, 2).long(), torch.ones(5, 9, 2)),
            r"truth: expected floats, got int64; write truth.float\(\)",
        ),
        (
            lambda: sbc_ranks(torch.ones(5, 2), torch.ones(5, 9, 2).numpy()),
            r"samples: expected a tensor, got ndarray; convert it",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
