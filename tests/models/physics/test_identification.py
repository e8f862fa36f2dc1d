"""Constants found from scattered measurements: estimates, their bound, what is refused."""

import math
from dataclasses import replace

import pytest
import torch

from pyneural.models import BurgersConstants, identify, known_start_deviations

SHORT = {"hidden": (4,), "points": 10, "stages": [(1.0, 2)]}


class Smooth(BurgersConstants):
    truth = 1.0, 0.05


def smooth(noise):
    return identify(
        Smooth(0.5, 0.02), noise, seed=1, count=300, hidden=(12, 12), points=200,
        stages=[(0.1, 20), (10.0, 20)],
    )  # fmt: skip


@pytest.fixture(scope="module")
def clean():
    return smooth(0.0)


def test_constants_are_found(clean):
    assert max(clean.errors) < 0.005
    assert clean.found == pytest.approx(clean.pinn.equation.constants, rel=1e-12)
    first, second = clean.found
    assert clean.errors == pytest.approx((abs(first - 1), abs(second / 0.05 - 1)))
    assert clean.solution_error < 0.002


def test_constants_are_found_in_noise_as_well_as_the_bound_allows(clean):
    bound = clean.bound(0.05, theory_weight=10.0)
    assert clean.bound(0.1, 10.0) == pytest.approx([2 * one for one in bound], rel=1e-9)
    looser = clean.bound(0.05, theory_weight=0.1)
    assert all(wide > one for wide, one in zip(looser, bound, strict=True))
    assert clean.pinn.weights["residual"] == 10
    known = known_start_deviations(Smooth(), 300, 0.05)
    for one, least in zip(bound, known, strict=True):
        assert 0.8 * least < one < 5 * least  # the points are others
    found = smooth(0.05)
    estimates = zip(found.errors, found.levels, found.estimates, found.truth, strict=True)
    allowed = zip(clean.efficient_errors(0.05, 10.0), bound, strict=True)
    for (error, level, estimate, true), (efficient, one) in zip(estimates, allowed, strict=True):
        assert error == pytest.approx(efficient, abs=0.4 * one)  # of the same data set
        assert estimate.deviation / true == pytest.approx(one, rel=0.4)
        assert level == pytest.approx(math.erf(error * true / estimate.deviation / 2**0.5))
    assert found.pinn.posterior().noise == pytest.approx(
        0.05 * float(Smooth().solution()[1].std()), rel=0.15
    )
    with pytest.raises(ValueError, match=r"bound: expected one without noise, got 0.05; take that"):
        found.bound(0.05)
    with pytest.raises(ValueError, match="bound: noise: expected a finite number > 0, got 0"):
        clean.bound(0.0)


def test_efficient_errors_spread_as_the_bound(clean):
    small = clean.efficient_errors(0.001, theory_weight=10.0)
    assert clean.efficient_errors(0.1, 10.0) == pytest.approx([100 * one for one in small])
    bound, seeds = clean.bound(0.1, 10.0), range(40)
    of_seeds = torch.tensor([replace(clean, seed=k).efficient_errors(0.1, 10.0) for k in seeds])
    # The points are those of each seed, where the bound is that of one of them.
    spread = of_seeds.square().mean(0).sqrt() / torch.tensor(bound)
    assert (spread - 1).abs().max() < 0.4
    with pytest.raises(ValueError, match="efficient_errors: noise: expected a finite number > 0"):
        clean.efficient_errors(math.nan)


def test_a_run_is_that_of_its_seed():
    def run(seed):
        return identify(BurgersConstants(), seed=seed, count=50, **SHORT)

    before = torch.get_rng_state()
    assert run(1).found == run(1).found
    assert run(1).found != run(2).found
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 10.5}, "scattered_measurements: count: expected a whole number"),
        ({"count": 0}, "scattered_measurements: count: expected 1 to 25,600"),
        ({"noise": math.inf}, "scattered_measurements: noise: expected a finite number"),
        ({"noise": math.nan}, "scattered_measurements: noise: expected a finite number"),
        ({"points": 0}, "identify: points: expected a whole number >= 1, got 0"),
        ({"stages": []}, "identify: stages: expected at least one, got none"),
        ({"stages": [(1, 2), (0, 2)]}, r"stages\[1\]: expected a finite weight > 0, got 0"),
        ({"stages": [(math.nan, 2)]}, r"stages\[0\]: expected a finite weight > 0, got nan"),
        ({"stages": [(1.0, 2), (1.0, -1)]}, "LevenbergMarquardt: steps: expected"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    equation = BurgersConstants()
    before = equation.constants
    with pytest.raises(ValueError, match=message):
        identify(equation, **{"count": 50, **SHORT, **options})
    assert equation.constants == before  # nothing was trained
