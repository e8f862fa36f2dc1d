"""Statements about settings of a sweep, judged by a stated rule from several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import NamedTuple

from pyneural.errors import check_argument
from pyneural.experiments.tables import difference

HOLDS, FAILS, OPEN = "holds", "does not hold", "can't tell: within the spread"
Group = str | tuple[str, ...]
Measured = Mapping[str, Sequence[float]]  # a positive number for each seed, by the setting


@dataclass(frozen=True)
class Contrast:
    """The statement that a quantity q is larger with one setting, a, than with another, b.

        c_s = log q_s(a) - log q_s(b)

    for each seed s. A group of settings stands for the best of them: that with the lowest mean of
    log q over the *other* seeds, so that the choice does not see the seed that it is judged by.

    Args:
        statement: in words, for a table.
        quantity: the column.
        larger: setting or group of which the statement says that it has more.
        smaller: that with which it is compared.
    """

    statement: str
    quantity: str
    larger: Group
    smaller: Group


class Verdict(NamedTuple):
    """What was measured about a statement.

    Attributes:
        ratio: geometric mean over the seeds of the ratio exp c_s.
        low, high: ends of its interval of 95 % confidence.
        conclusion: "holds" if the interval lies above 1, "does not hold" if it lies below,
            "can't tell: within the spread" otherwise.
    """

    ratio: float
    low: float
    high: float
    conclusion: str

    def __str__(self) -> str:
        return f"x {self.ratio:.3g} ({self.low:.3g} to {self.high:.3g})"


def verdict(contrast: Contrast, measured: Measured) -> Verdict:
    """Judges a statement: by Student's interval of the mean of c over the seeds, which are paired.

    Args:
        contrast: the statement.
        measured: its quantity by the setting, [seeds]; all in the same order of the seeds.

    Raises:
        ArgumentError: numbers that are not positive and finite, a setting that was not measured, or
            not by all seeds.
        ImportError: scipy is not installed.

    >>> statement = Contrast("b is slower than a", "seconds", "b", "a")
    >>> found = verdict(statement, {"a": [1.0, 1.1, 0.9], "b": [2.0, 2.0, 2.1]})
    >>> str(found), found.conclusion
    ('x 2.04 (1.49 to 2.79)', 'holds')
    """
    where, names = "verdict: measured", [*_names(contrast.larger), *_names(contrast.smaller)]
    for name in names:
        known = ", ".join(measured)
        check_argument(name in measured, where, f"the setting {name!r}", known, "measure it")
        good = all(math.isfinite(value) and value > 0 for value in measured[name])
        expected, got = f"finite numbers > 0 of {name!r}", list(measured[name])
        check_argument(good, where, expected, got, "leave the seed out")
    counts = {name: len(measured[name]) for name in names}
    good = len(set(counts.values())) == 1
    check_argument(good, where, "as many seeds of each setting", counts, "measure all of them")
    pairs = zip(
        group_values(contrast.larger, measured),
        group_values(contrast.smaller, measured),
        strict=True,
    )
    c = [math.log(a / b) for a, b in pairs]
    mean, low, high = difference(c, [0.0] * len(c))
    conclusion = HOLDS if low > 0 else FAILS if high < 0 else OPEN
    return Verdict(_exp(mean), _exp(low), _exp(high), conclusion)


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
        p: probability of one as far from 0, if they had nothing to do with each other.
        conclusion: of the statement that one grows with the other: "holds" if the correlation is
            positive and p < 0.05, "does not hold" if it is negative and p < 0.05, "can't
            tell: within the spread" otherwise.
    """

    correlation: float
    p: float
    conclusion: str


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Whether y grows with x, from the ranks of pairs.

    Args:
        x: values, [N].
        y: values of the same things, [N].

    Raises:
        ArgumentError: fewer than three pairs, or different numbers of x and y.
        ImportError: scipy is not installed.

    Source: Spearman, American Journal of Psychology 15, 72 (1904).

    >>> rank_correlation([1, 2, 3, 4, 5], [1, 4, 9, 16, 25]).conclusion
    'holds'
    """
    good, got = len(x) == len(y) > 2, f"{len(x)} and {len(y)}"
    expected, remedy = "as many of each, three or more", "measure more"
    check_argument(good, "rank_correlation: x, y", expected, got, remedy)
    try:
        stats = import_module("scipy.stats")
    except ImportError as error:
        raise ImportError(
            "rank_correlation: expected scipy, got none; pip install 'pyneural[data]'"
        ) from error
    correlation, p = map(float, stats.spearmanr(x, y))
    clear = p < 0.05  # not so where all values are the same: both are nan then
    conclusion = HOLDS if clear and correlation > 0 else FAILS if clear else OPEN
    return RankCorrelation(correlation, p, conclusion)


def _names(group: Group) -> tuple[str, ...]:
    return (group,) if isinstance(group, str) else group


def _exp(value: float) -> float:
    """The exponential, which may be infinite, as the ends of the interval of one seed are."""
    return math.inf if value > 700 else math.exp(value)
