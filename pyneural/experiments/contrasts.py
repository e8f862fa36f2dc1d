"""Statements about settings of a sweep, judged by a stated rule from several seeds.

A statement holds where p < 0.05. Where several are made from one experiment, ``corrected`` comes
first, so that not one in twenty of them is found by chance alone.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from pyneural.errors import check_argument
from pyneural.experiments.tables import LEVEL, Difference, difference, stats, student_quantile

HOLDS, FAILS, OPEN = "holds", "does not hold", "can't tell: within the spread"
_EXACT = 8  # pairs, up to which all orders of them are looked at
Group = str | tuple[str, ...]
Measured = Mapping[str, Sequence[float]]  # a positive number for each seed, by the setting


class Ratio(NamedTuple):
    """A ratio of quantities that were measured with the same seeds.

    Attributes:
        mean: geometric mean over the seeds; nan where both sides are lower bounds.
        low, high: ends of its interval of 95 % confidence, of this ratio alone.
        p: probability of one as far from 1, if the true one were 1; see ``corrected``.
    """

    mean: float
    low: float
    high: float
    p: float

    @property
    def conclusion(self) -> str:
        """Of the statement that it is larger than 1."""
        return self.says(HOLDS, FAILS, OPEN)

    def says(self, above: str, below: str, between: str) -> str:
        """One of three texts: p < 0.05 and it is above 1, or below 1; or p is larger.

        >>> Ratio(1.8, 1.6, 2.0, p=0.001).says("larger", "smaller", "can't tell")
        'larger'
        """
        return between if not self.p < LEVEL else above if self.mean > 1 else below

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "unknown"
        mean, low, high = map(_figure, self[:3])
        if self.low == 0 and self.high == math.inf:
            return f"{mean} (no spread)"
        if self.high == math.inf:
            return f"at least {mean} (from {low})"
        if self.low == 0:
            return f"at most {mean} (to {high})"
        return f"{mean} ({low} to {high})"


def ratio(
    x: Sequence[float],
    y: Sequence[float],
    *,
    x_at_least: bool = False,
    y_at_least: bool = False,
) -> Ratio:
    """How many times larger x is than y, which were measured with the same seeds.

        exp(mean of c +- t std(c) / sqrt(S)),   c_s = log x_s - log y_s

    where t is the quantile of Student's distribution with S - 1 degrees of freedom. Of one seed, or
    of ratios that are all the same, nothing can be told.

    Some values may be lower bounds, as the time of a training that never came to its target. With
    such x the ratio is a lower bound itself: it may be found larger than 1, but never smaller. With
    such y it is an upper bound; with both, it is unknown.

    Args:
        x: positive values by seed, [S].
        y: values of the same seeds, [S].
        x_at_least: whether some x are lower bounds.
        y_at_least: whether some y are.

    Raises:
        ArgumentError: different numbers of seeds, or values that are not positive and finite.
        ImportError: scipy is missing.

    >>> print(ratio([2.0, 2.2, 1.8], [1.0, 1.0, 1.0]))
    1.99 (1.55 to 2.56)
    """
    good, got = len(x) == len(y) > 0, f"{len(x)} and {len(y)}"
    check_argument(good, "ratio: x and y", "values of the same seeds", got, "leave seeds out")
    good, got = all(0 < value < math.inf for value in [*x, *y]), f"{list(x)} and {list(y)}"
    remedy = "leave seeds out whose training failed"
    check_argument(good, "ratio: x and y", "finite numbers > 0", got, remedy)
    if x_at_least and y_at_least:
        return Ratio(math.nan, 0.0, math.inf, 1.0)
    logs = [math.log(a / b) for a, b in zip(x, y, strict=True)]
    mean, low, high, p = difference(logs, [0.0] * len(logs))
    if x_at_least:
        high, p = math.inf, p if mean > 0 else 1.0
    if y_at_least:
        low, p = -math.inf, p if mean < 0 else 1.0
    return Ratio(_exp(mean), _exp(low), _exp(high), p)


@dataclass(frozen=True)
class Contrast:
    """The statement that a quantity q is larger with one setting, a, than with another, b.

        c_s = log q_s(a) - log q_s(b)

    for each seed s. A group of settings stands for the best of them: that with the lowest mean of
    log q over the other seeds, so that the choice does not see the seed that it is judged by.

    Args:
        statement: in words, for a table.
        quantity: the column.
        larger: setting or group of which the statement says that it has more.
        smaller: that with which it is compared.

    Raises:
        ArgumentError: a group without settings.
    """

    statement: str
    quantity: str
    larger: Group
    smaller: Group

    def __post_init__(self) -> None:
        for name in ("larger", "smaller"):
            group = getattr(self, name)
            where, remedy = f"Contrast: {name}", "name the settings that were measured"
            check_argument(len(group) > 0, where, "a setting or some of them", repr(group), remedy)


def verdict(contrast: Contrast, measured: Measured, at_least: Container[str] = ()) -> Ratio:
    """Judges a statement alone, by the ratio of its two sides; see ``corrected`` for several.

    Args:
        contrast: the statement.
        measured: its quantity by the setting, [seeds]; all in the same order of the seeds.
        at_least: settings of which some values are lower bounds, as in ``ratio``; none of a group.

    Raises:
        ArgumentError: numbers that are not positive and finite, a setting that was not measured, or
            not by all seeds.
        ImportError: scipy is not installed.

    >>> statement = Contrast("b is slower than a", "seconds", "b", "a")
    >>> found = verdict(statement, {"a": [1.0, 1.1, 0.9], "b": [2.0, 2.0, 2.1]})
    >>> str(found), found.conclusion
    ('2.04 (1.49 to 2.79)', 'holds')
    """
    where, sides = "verdict: measured", (contrast.larger, contrast.smaller)
    names = [name for side in sides for name in _names(side)]
    for name in names:
        known = ", ".join(measured)
        check_argument(name in measured, where, f"the setting {name!r}", known, "measure it")
        good = all(math.isfinite(value) and value > 0 for value in measured[name])
        expected, got = f"finite numbers > 0 of {name!r}", list(measured[name])
        check_argument(good, where, expected, got, "leave the seed out")
    counts = {name: len(measured[name]) for name in names}
    good = len(set(counts.values())) == 1 and min(counts.values()) > 0
    check_argument(good, where, "as many seeds of each setting", counts, "measure all of them")
    bounds = []
    for side in sides:
        of_side = [name for name in _names(side) if name in at_least]
        good, remedy = not of_side or isinstance(side, str), "compare with a single setting"
        check_argument(good, "verdict: at_least", "no settings of a group", of_side, remedy)
        bounds.append(bool(of_side))
    x, y = (group_values(side, measured) for side in sides)
    return ratio(x, y, x_at_least=bounds[0], y_at_least=bounds[1])


def group_values(group: Group, measured: Measured) -> list[float]:
    """Values of a setting for each seed; of a group, of the setting that is best for the others.

    >>> group_values(("a", "b"), {"a": [1.0, 4.0, 1.0], "b": [2.0, 2.0, 2.0]})
    [2.0, 4.0, 2.0]
    """
    names = _names(group)
    logs = {name: [math.log(value) for value in measured[name]] for name in names}

    def of_others(seed: int, name: str) -> float:
        return sum(logs[name]) - logs[name][seed]

    seeds = range(len(measured[names[0]]))
    return [measured[min(names, key=partial(of_others, seed))][seed] for seed in seeds]


class RankCorrelation(NamedTuple):
    """Spearman's rank correlation of two quantities.

    Attributes:
        correlation: from -1 to 1.
        p: probability of one as far from 0, if they had nothing to do with each other; see
            ``corrected``.
    """

    correlation: float
    p: float

    @property
    def conclusion(self) -> str:
        """Of the statement that one grows with the other.

        "holds" if the correlation is positive and p < 0.05, "does not hold" if it is negative and
        p < 0.05, "can't tell: within the spread" otherwise.
        """
        return OPEN if not self.p < LEVEL else HOLDS if self.correlation > 0 else FAILS


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Whether y grows with x, from the ranks of pairs.

    Of up to eight pairs p is exact, the share of the N! orders of y whose correlation is as far
    from 0; of three or four it is never below 0.05. Of more it is that of Student's distribution.

    Args:
        x: values, [N].
        y: values of the same things, [N]; where all are the same, p is 1.

    Raises:
        ArgumentError: fewer than three pairs, different numbers of x and y, or some that are not
            finite.
        ImportError: scipy is not installed.

    Source: Spearman, American Journal of Psychology 15, 72 (1904).

    >>> rank_correlation([1, 2, 3, 4, 5], [1, 4, 9, 16, 25]).conclusion
    'holds'
    """
    good, got = len(x) == len(y) > 2, f"{len(x)} and {len(y)}"
    expected, remedy = "as many of each, three or more", "measure more"
    check_argument(good, "rank_correlation: x, y", expected, got, remedy)
    good, got = all(map(math.isfinite, [*x, *y])), f"{list(x)} and {list(y)}"
    remedy = "leave out what failed"
    check_argument(good, "rank_correlation: x, y", "finite numbers", got, remedy)
    if min(x) == max(x) or min(y) == max(y):
        return RankCorrelation(0.0, 1.0)
    correlation, p = map(float, stats().spearmanr(x, y))
    if len(x) <= _EXACT:
        first, second = (ranks - ranks.mean() for ranks in map(stats().rankdata, (x, y)))
        products = np.array([*itertools.permutations(second)]) @ first
        p = float((abs(products) > abs(first @ second) - 1e-9).mean())
    return RankCorrelation(correlation, p)


Judged = TypeVar("Judged", Ratio, RankCorrelation, Difference)


def corrected(found: Sequence[Judged]) -> list[Judged]:
    """Results that are told together, with p corrected for their number by Holm's method.

        p'_(i) = max over j <= i of min(1, (M - j + 1) p_(j)),   p_(1) <= ... <= p_(M)

    If none of the M statements were true, the probability that any p' is below 0.05 is 5 % at most;
    nor is it larger where some are true. Intervals stay as they are, of each result alone.

    Args:
        found: all results of an experiment that something is concluded from.

    Source: Holm, Scandinavian Journal of Statistics 6, 65 (1979).

    >>> [r.p for r in corrected([RankCorrelation(0.9, p) for p in (0.25, 0.01, 0.02)])]
    [0.25, 0.03, 0.04]
    """
    changed, least = list(found), 0.0
    for place, index in enumerate(sorted(range(len(found)), key=lambda index: found[index].p)):
        least = max(least, min(1.0, (len(found) - place) * found[index].p))
        changed[index] = found[index]._replace(p=least)
    return changed


def as_good_as_the_best(values: Mapping[str, Sequence[float]]) -> list[str]:
    """Which of several are as good as that with the lowest mean over the seeds, itself included.

        mean - mean of the best <= t s sqrt(1 / n + 1 / m)

    with s^2 the variance over seeds, pooled over the two, n and m their numbers of seeds, and t the
    quantile of Student's distribution of 1 - 0.05 / (number of others), so that the level of all
    comparisons together is 95 % (Bonferroni). One whose results scatter thus says nothing of how
    well the others are told apart. Two without any spread are not: both are as good.

    Args:
        values: [seeds] by the name, of which a low one is good.

    Raises:
        ImportError: scipy is not installed.

    >>> as_good_as_the_best({"a": [1.1, 1.0], "b": [1.0, 1.2], "c": [3.0, 3.1]})
    ['a', 'b']
    """
    means = {name: statistics.mean(some) for name, some in values.items()}
    best = min(means, key=lambda name: means[name])

    def is_as_good(name: str) -> bool:
        pair = values[name], values[best]
        freedom = sum(len(some) - 1 for some in pair)
        squares = sum((len(some) - 1) * statistics.variance(some) for some in pair if len(some) > 1)
        if squares == 0:
            return True
        t = student_quantile(1 - LEVEL / (len(values) - 1), freedom)
        limit = t * math.sqrt(squares / freedom * sum(1 / len(some) for some in pair))
        return means[name] - means[best] <= limit

    return [name for name in values if name == best or is_as_good(name)]


def _names(group: Group) -> tuple[str, ...]:
    return (group,) if isinstance(group, str) else group


def _figure(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 100 else f"{value:.2g}"


def _exp(value: float) -> float:
    """The exponential, which may be infinite, as the ends of the interval of one seed are."""
    return math.inf if value > 700 else math.exp(value)
