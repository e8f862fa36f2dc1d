"""The sliced Wasserstein distance against an optimal assignment and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.metrics import noise_floor, projections, sliced_wasserstein


def normal(count, features=2, seed=0):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "m"), [(12, 12), (12, 8), (5, 7), (1, 3)])
def test_one_column_is_an_optimal_assignment(n, m):
    """Rows are repeated until both sets are as large."""
    optimize = pytest.importorskip("scipy.optimize")
    x, y = normal(n, 1).double(), normal(m, 1, 1).double() + 0.3
    size = math.lcm(n, m)
    a, b = x.repeat_interleave(size // n), y.repeat_interleave(size // m)
    costs = (a[:, None] - b).square().numpy()
    rows, columns = optimize.linear_sum_assignment(costs)
    exact = math.sqrt(costs[rows, columns].mean())
    assert sliced_wasserstein(x, y, directions=2) == pytest.approx(exact, rel=1e-12)


def test_a_shift_and_a_scale():
    x = normal(500, 5)
    shift = torch.tensor([3.0, 0, 0, 4.0, 0])
    found = sliced_wasserstein(x, x + shift, directions=3000)
    assert found == pytest.approx(5 / math.sqrt(5), rel=0.03)  # |shift| / sqrt(D)
    # Along each direction 2 x is twice x: the root of the mean square of the projections.
    expected = float(x.square().sum(1).mean().div(5).sqrt())
    assert sliced_wasserstein(x, 2 * x, directions=3000) == pytest.approx(expected, rel=0.03)
    assert sliced_wasserstein(x, x) == 0


def test_seed_blocks_and_global_generator(monkeypatch):
    x, y = normal(30), normal(40, seed=1)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    value = sliced_wasserstein(x, y, seed=3)
    assert value == sliced_wasserstein(x, y, seed=3) != sliced_wasserstein(x, y, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    monkeypatch.setattr(projections, "_ELEMENTS", 100)
    assert sliced_wasserstein(x, y, seed=3) == pytest.approx(value, rel=1e-12)


def test_noise_floor_falls_as_the_root_of_the_number():
    small, large = (noise_floor(sliced_wasserstein, normal(n), repeats=6) for n in (300, 4800))
    assert 2.5 < small.mean / large.mean < 6


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (normal(9), normal(9, 3), {}, r"expected \[N, D\] each"),
        (normal(9), normal(0), {}, r"y: expected at least 1 rows, got 0"),
        (normal(9) * float("nan"), normal(9), {}, r"x: expected finite numbers"),
        (normal(9), normal(9), {"directions": 0}, r"directions: expected >= 1, got 0"),
    ],
)
def test_bad_input_is_named(x, y, options, message):
    with pytest.raises(ArgumentError, match=r"sliced_wasserstein: .*" + message):
        sliced_wasserstein(x, y, **options)
