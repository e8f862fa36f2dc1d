"""Statements judged from several seeds: against scipy, and on cases whose answer is known."""

import math

import numpy as np
import pytest

from pyneural.errors import ArgumentError
from pyneural.experiments import Contrast, rank_correlation, verdict
from pyneural.experiments.contrasts import FAILS, HOLDS, OPEN, group_values

stats = pytest.importorskip("scipy.stats")
LARGER = Contrast("a has more than b", "q", "a", "b")


def test_interval_is_that_of_the_paired_t_test():
    random = np.random.default_rng(0)
    a, b = np.exp(random.normal(0.5, 1, 6)), np.exp(random.normal(0, 1, 6))
    found = verdict(LARGER, {"a": a.tolist(), "b": b.tolist()})
    test = stats.ttest_rel(np.log(a), np.log(b))
    low, high = test.confidence_interval(0.95)
    assert found.ratio == pytest.approx(math.exp(np.log(a / b).mean()))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert (found.conclusion == OPEN) == (test.pvalue > 0.05)


@pytest.mark.parametrize(
    ("a", "b", "conclusion"),
    [
        ([2.0, 2.1, 1.9], [1.0, 1.1, 0.9], HOLDS),
        ([1.0, 1.1, 0.9], [2.0, 2.1, 1.9], FAILS),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], OPEN),
        ([1.0, 100.0, 0.01], [0.5, 50.0, 0.005], HOLDS),  # seeds differ, pairs do not
        ([2.0], [1.0], OPEN),
    ],
)
def test_conclusions(a, b, conclusion):
    assert verdict(LARGER, {"a": a, "b": b}).conclusion == conclusion


def test_best_of_a_group_is_chosen_by_the_other_seeds():
    measured = {"b": [1.0, 1.0, 9.0], "c": [2.0, 2.0, 2.0], "a": [3.0, 3.0, 3.0]}
    # Seed 2 alone speaks against b, and does not take part in the choice for itself.
    assert group_values(("b", "c"), measured) == [2.0, 2.0, 9.0]
    found = verdict(Contrast("", "q", "a", ("b", "c")), measured)
    assert found.ratio == pytest.approx((1.5 * 1.5 / 3) ** (1 / 3))


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        ({"a": [1.0, 2.0]}, "expected the setting 'b', got a"),
        ({"a": [1.0, 0.0], "b": [1.0, 1.0]}, "expected finite numbers > 0 of 'a'"),
        ({"a": [1.0, math.nan], "b": [1.0, 1.0]}, "expected finite numbers > 0 of 'a'"),
        ({"a": [1.0, 1.0], "b": [1.0]}, "expected as many seeds of each setting"),
    ],
)
def test_refused(measured, text):
    with pytest.raises(ArgumentError, match=text):
        verdict(LARGER, measured)


def test_rank_correlation():
    x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert rank_correlation(x, [value**3 for value in x]).conclusion == HOLDS
    assert rank_correlation(x, [-value for value in x]).conclusion == FAILS
    assert rank_correlation(x, [1.0, 5.0, 2.0, 6.0, 3.0, 1.5]).conclusion == OPEN
    with pytest.raises(ArgumentError, match="three or more, got 2 and 2"):
        rank_correlation([1.0, 2.0], [1.0, 2.0])
