"""Statements judged from several seeds: against scipy, and on cases whose answer is known."""

import itertools
import math

import numpy as np
import pytest

from pyneural.errors import ArgumentError
from pyneural.experiments import (
    Contrast,
    RankCorrelation,
    as_good_as_the_best,
    corrected,
    difference,
    rank_correlation,
    ratio,
    verdict,
)
from pyneural.experiments.contrasts import FAILS, HOLDS, OPEN, group_values

stats = pytest.importorskip("scipy.stats")
LARGER = Contrast("a has more than b", "q", "a", "b")


def test_interval_is_that_of_the_paired_t_test():
    random = np.random.default_rng(0)
    a, b = np.exp(random.normal(0.5, 1, 6)), np.exp(random.normal(0, 1, 6))
    found = verdict(LARGER, {"a": a.tolist(), "b": b.tolist()})
    test = stats.ttest_rel(np.log(a), np.log(b))
    low, high = test.confidence_interval(0.95)
    assert found.mean == pytest.approx(math.exp(np.log(a / b).mean()))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.p == pytest.approx(test.pvalue)
    assert (found.conclusion == OPEN) == (test.pvalue > 0.05)


@pytest.mark.parametrize(
    ("a", "b", "conclusion"),
    [
        ([2.0, 2.1, 1.9], [1.0, 1.1, 0.9], HOLDS),
        ([1.0, 1.1, 0.9], [2.0, 2.1, 1.9], FAILS),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], OPEN),
        ([1.0, 100.0, 0.01], [0.5, 51.0, 0.005], HOLDS),  # seeds differ, pairs hardly do
        ([2.0], [1.0], OPEN),
        ([2.0, 4.0], [1.0, 2.0], OPEN),  # the same ratio twice has no spread
    ],
)
def test_conclusions(a, b, conclusion):
    assert verdict(LARGER, {"a": a, "b": b}).conclusion == conclusion


def test_best_of_a_group_is_chosen_by_the_other_seeds():
    measured = {"b": [1.0, 1.0, 9.0], "c": [2.0, 2.0, 2.0], "a": [3.0, 3.0, 3.0]}
    # Seed 2 alone speaks against b, and does not take part in the choice for itself.
    assert group_values(("b", "c"), measured) == [2.0, 2.0, 9.0]
    found = verdict(Contrast("", "q", "a", ("b", "c")), measured)
    assert found.mean == pytest.approx((1.5 * 1.5 / 3) ** (1 / 3))


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        ({"a": [1.0, 2.0]}, "expected the setting 'b', got a"),
        ({"a": [1.0, 0.0], "b": [1.0, 1.0]}, "expected finite numbers > 0 of 'a'"),
        ({"a": [1.0, math.nan], "b": [1.0, 1.0]}, "expected finite numbers > 0 of 'a'"),
        ({"a": [1.0, 1.0], "b": [1.0]}, "expected as many seeds of each setting"),
        ({"a": [], "b": []}, "expected as many seeds of each setting"),
    ],
)
def test_refused(measured, text):
    with pytest.raises(ArgumentError, match=text):
        verdict(LARGER, measured)


def test_a_group_without_settings_is_refused():
    with pytest.raises(ArgumentError, match=r"Contrast: smaller: expected a setting .* got \(\)"):
        Contrast("a has more", "q", "a", ())


@pytest.mark.parametrize(
    ("x_at_least", "y_at_least", "a", "conclusion", "text"),
    [
        (True, False, 9.0, HOLDS, "at least 9.00 (from "),
        (True, False, 0.1, OPEN, "at least 0.10 (from "),  # the true one may be larger than 1
        (False, True, 9.0, OPEN, "at most 9.00 (to "),
        (False, True, 0.1, FAILS, "at most 0.10 (to "),
        (True, True, 9.0, OPEN, "unknown"),
    ],
)
def test_lower_bounds_tell_one_side_only(x_at_least, y_at_least, a, conclusion, text):
    measured = {"a": [0.9 * a, a, a / 0.9], "b": [1.0, 1.0, 1.0]}
    bounds = [name for name, bound in (("a", x_at_least), ("b", y_at_least)) if bound]
    found = verdict(LARGER, measured, at_least=bounds)
    assert found.conclusion == conclusion
    assert str(found).startswith(text)
    assert verdict(LARGER, measured).conclusion in (HOLDS, FAILS)
    with pytest.raises(ArgumentError, match=r"at_least: expected no settings of a group"):
        verdict(Contrast("", "q", "a", ("b", "c")), measured | {"c": [1.0] * 3}, ["c"])


def test_holm_is_bonferroni_for_every_subset():
    """A statement is told if it is told in each family of statements that it may belong to."""
    for seed in range(5):
        p = np.random.default_rng(seed).uniform(0, 0.5, 6).tolist()
        found = [one.p for one in corrected([RankCorrelation(0.5, value) for value in p])]
        families = [part for n in range(1, 7) for part in itertools.combinations(range(6), n)]
        for place, value in enumerate(found):
            some = [[p[i] for i in family] for family in families if place in family]
            assert value == pytest.approx(max(min(1, len(part) * min(part)) for part in some))
    assert corrected([]) == []


def test_errors_in_any_of_several_statements_are_rare():
    """Of statements none of which is true: at most one experiment in twenty tells any."""
    random, alone, together = np.random.default_rng(0), 0, 0
    for _ in range(60):
        found = [ratio(*np.exp(random.normal(size=(2, 5))).tolist()) for _ in range(15)]
        alone += any(one.conclusion != OPEN for one in found)
        together += any(one.conclusion != OPEN for one in corrected(found))
    assert alone > 20
    assert together < 9  # 3 are expected at most, with a deviation of 1.7


def test_best_ones_are_those_of_the_pooled_t_test():
    values = {"a": [1.0, 1.2, 1.1], "b": [1.20, 1.40, 1.30], "c": [2.0, 2.3, 2.1]}
    p = {
        n: stats.ttest_ind(v, values["a"], alternative="greater").pvalue for n, v in values.items()
    }
    assert 0.05 / 2 < p["b"] < 0.05
    assert p["c"] < 0.05 / 2
    assert as_good_as_the_best(values) == ["a", "b"]


def test_without_any_spread_nothing_is_told():
    assert not difference([0.9, 0.9, 0.9], [0.8, 0.8, 0.8]).distinct
    assert difference([0.9, 0.9, 0.9], [0.8, 0.81, 0.79]).distinct
    assert as_good_as_the_best({"a": [0.1, 0.1], "b": [0.2, 0.2]}) == ["a", "b"]
    noisy = [0.500, 0.501, 0.499]
    assert as_good_as_the_best({"a": [0.1] * 3, "b": [0.2] * 3, "c": noisy}) == ["a", "b"]


def test_one_that_scatters_does_not_hide_how_far_the_others_are_apart():
    values = {"a": [0.48, 0.49, 0.50], "b": [0.56, 0.62, 0.63], "c": [0.52, 0.58, 0.83]}
    assert as_good_as_the_best(values) == ["a", "c"]
    del values["c"]
    assert as_good_as_the_best(values) == ["a"]


def test_rank_correlation():
    x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert rank_correlation(x, [value**3 for value in x]).conclusion == HOLDS
    assert rank_correlation(x, [-value for value in x]).conclusion == FAILS
    assert rank_correlation(x, [1.0, 5.0, 2.0, 6.0, 3.0, 1.5]).conclusion == OPEN
    assert rank_correlation(x, [1.0] * 6) == (0.0, 1.0)
    with pytest.raises(ArgumentError, match="three or more, got 2 and 2"):
        rank_correlation([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ArgumentError, match="finite numbers"):
        rank_correlation([1.0, 2.0, math.nan], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("y", [[1, 2, 3], [4, 3, 2, 1], [1, 3, 2, 4, 5], [1, 1, 2, 3, 3]])
def test_rank_correlation_of_few_pairs_is_judged_by_all_their_orders(y):
    x = list(range(len(y)))
    expected = stats.permutation_test(
        [y], lambda y: stats.spearmanr(x, y).statistic, permutation_type="pairings",
        n_resamples=math.inf,
    )  # fmt: skip
    found = rank_correlation(x, y)
    assert found == pytest.approx((expected.statistic, expected.pvalue))
    assert len(y) > 4 or found.conclusion == OPEN
