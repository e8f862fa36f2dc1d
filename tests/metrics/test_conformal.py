"""Expected coverage by hand, and the guarantee of the conformal level over many repetitions."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.metrics import conformal_level, expected_coverage


def uniform(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def test_coverage_is_the_share_of_levels_below():
    found = expected_coverage(torch.tensor([0.0, 0.25, 0.5, 1.0]), levels=5)
    assert found.levels.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.coverage.tolist() == [0.25, 0.5, 0.75, 0.75, 1]
    assert found.deviation == 0.25


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_wrong_width_is_found(power):
    """Levels u^p have the coverage alpha^(1/p)."""
    found = expected_coverage(uniform(20_000) ** power)
    exact = found.levels ** (1 / power)
    assert (found.coverage - exact).abs().max() < 1.95 / math.sqrt(20_000)
    assert expected_coverage(uniform(20_000)).deviation < 1.95 / math.sqrt(20_000)


@pytest.mark.parametrize(("count", "level"), [(5, 0.7), (9, 0.9), (100, 0.5), (99, 0.68)])
def test_coverage_is_guaranteed_and_no_larger_than_it_must_be(count, level):
    """The mean over 5,000 repetitions, of levels that are far from uniform."""
    levels = uniform(5_000, count + 1) ** 0.2
    corrected = torch.tensor([conformal_level(row[:-1], level) for row in levels])
    held = (levels[:, -1] <= corrected).double()
    exact = math.ceil(round((count + 1) * level, 9)) / (count + 1)
    assert level <= exact <= level + 1 / (count + 1)
    assert abs(held.mean() - exact) < 4 * math.sqrt(exact * (1 - exact) / 5_000)


def test_ties_only_raise_the_coverage():
    levels = (10 * uniform(2_000, 20)).floor() / 10
    held = [bool(row[-1] <= conformal_level(row[:-1], 0.8)) for row in levels]
    assert sum(held) / len(held) > 0.8


def test_levels_of_uniform_ones_are_hardly_changed():
    for level in (0.1, 0.5, 0.95):
        assert abs(conformal_level(uniform(50_000), level) - level) < 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: expected_coverage(torch.rand(3, 2)),
            r"expected floats \[N\], N >= 1",
        ),
        (lambda: expected_coverage(torch.rand(0)), r"got float32 \[0\]; give one level"),
        (lambda: expected_coverage(torch.ones(3).long()), r"got int64 \[3\]"),
        (lambda: conformal_level([0.1, 0.2], 0.5), r"truth_levels: expected a tensor, got list"),
        (lambda: expected_coverage(torch.rand(9), levels=1), r"levels: expected >= 2, got 1"),
        (lambda: expected_coverage(torch.tensor([0.5, math.nan])), r"0 to 1, got 1 outside or NaN"),
        (
            lambda: conformal_level(torch.tensor([0.5, 1.5, -2.0]), 0.5),
            r"got 2 outside or NaN",
        ),
        (
            lambda: conformal_level(torch.rand(9), 1.0),
            r"expected a number in \(0, 1\), got 1",
        ),
        (lambda: conformal_level(torch.rand(9), 90), r"write 0.9 for 90 %"),
        (
            lambda: conformal_level(torch.rand(18), 0.95),
            r"expected at least 19 simulations for level 0.95, got 18; simulate more",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
