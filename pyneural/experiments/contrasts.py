"""Statements about settings of a sweep, judged by a stated rule from several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from pyneural.errors import check_argument
from pyneural.experiments.tables import difference

HOLDS, FAILS, OPEN = "holds", "does not hold", "can't tell: within the spread"
Measured = Mapping[str, Sequence[float]]  # a positive number for each seed, by the setting


@dataclass(frozen=True)
class Contrast:
    """The statement that a quantity is larger with some settings than with others.

        c_s = sum over ``larger`` of log q_s  -  sum over ``smaller`` of log q_s

    for each seed s. A group of settings, written as a tuple, stands for the best of them: that with
    the lowest mean of log q over the *other* seeds, so that the choice does not see the seed that
    it is judged by.

    Args:
        statement: in words, for a table.
        quantity: the column.
        larger: settings or groups, of which the statement says that they have more.
        smaller: those with which they are compared.
    """

    statement: str
    quantity: str
    larger: Sequence[str | tuple[str, ...]]
    smaller: Sequence[str | tuple[str, ...]]


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
        ArgumentError: numbers that are not positive and finite, or a setting that was not measured.
        ImportError: scipy is not installed.

    >>> statement = Contrast("b is slower than a", "seconds", ["b"], ["a"])
    >>> found = verdict(statement, {"a": [1.0, 1.1, 0.9], "b": [2.0, 2.1, 1.9]})
    >>> str(found), found.conclusion
    ('x 2.01 (1.76 to 2.29)', 'holds')
    """
    where = "verdict: measured"
    for group in [*contrast.larger, *contrast.smaller]:
        for name in _settings(group):
            known = ", ".join(measured)
            check_argument(name in measured, where, f"the setting {name!r}", known, "measure it")
            good = all(math.isfinite(value) and value > 0 for value in measured[name])
            expected, got = f"numbers > 0 of {name!r}", list(measured[name])
            check_argument(good, where, expected, got, "leave the seed out")
    larger = [group_values(group, measured) for group in contrast.larger]
    smaller = [group_values(group, measured) for group in contrast.smaller]
    ratios = [
        math.prod(a) / math.prod(b)
        for a, b in zip(zip(*larger, strict=True), zip(*smaller, strict=True), strict=True)
    ]
    c = [math.log(ratio) for ratio in ratios]
    mean, low, high = difference(c, [0.0] * len(c))
    conclusion = HOLDS if low > 0 else FAILS if high < 0 else OPEN
    return Verdict(math.exp(mean), math.exp(low), _exp(high), conclusion)


def _settings(group: str | tuple[str, ...]) -> tuple[str, ...]:
    return (group,) if isinstance(group, str) else group


def group_values(group: str | tuple[str, ...], measured: Measured) -> list[float]:
    """Values of a setting for each seed; of a group, of the setting that is best for the others.

    >>> group_values(("a", "b"), {"a": [1.0, 4.0, 1.0], "b": [2.0, 2.0, 2.0]})
    [2.0, 4.0, 2.0]
    """
    names = _settings(group)
    logs = {name: [math.log(value) for value in measured[name]] for name in names}

    def of_others(seed: int, name: str) -> float:
        return sum(logs[name]) - logs[name][seed]

    seeds = range(len(measured[names[0]]))
    return [measured[min(names, key=partial(of_others, seed))][seed] for seed in seeds]


def _exp(value: float) -> float:
    return math.inf if value > 700 else math.exp(value)
