"""Halves of real data: which rows they have, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.metrics import noise_floor


@pytest.mark.parametrize("count", [10, 11])
def test_halves_have_no_row_in_common(count):
    halves = []

    def metric(x, y):
        halves.append((set(x.tolist()), set(y.tolist())))
        return 0.0

    noise_floor(metric, torch.arange(float(count)), repeats=3)
    for first, second in halves:
        assert len(first) == len(second) == 5
        assert not first & second
    assert halves[0] != halves[1]


def test_mean_and_spread():
    """Difference of the means of halves: known from the variance of the rows."""
    x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    floor = noise_floor(lambda a, b: (a - b).mean(0)[0], x, repeats=400)
    assert floor.values.shape == (400,)
    assert floor.mean == pytest.approx(float(floor.values.mean()))
    assert abs(floor.mean) < 4 * floor.std / math.sqrt(400)
    assert floor.std == pytest.approx(2 * float(x[:, 0].std()) / math.sqrt(1000), rel=0.15)
    assert "+-" in str(floor)


def test_seed_and_global_generator():
    x = torch.randn(20)

    def metric(a, b):
        return a.mean() - b.mean()

    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert noise_floor(metric, x).mean == noise_floor(metric, x).mean
    assert noise_floor(metric, x).mean != noise_floor(metric, x, seed=1).mean
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("real", "options", "message"),
    [
        (torch.rand(3, 2), {}, r"real: expected at least 4 rows, got \[3, 2\]"),
        (torch.rand(9, 2), {"repeats": 1}, "repeats: expected >= 2, got 1"),
        (torch.full((9, 2), math.nan), {}, "metric: expected a number, got nan"),
    ],
)
def test_bad_input_is_named(real, options, message):
    with pytest.raises(ArgumentError, match=rf"noise_floor: {message}"):
        noise_floor(lambda x, y: x.mean() - y.mean(), real, **options)
