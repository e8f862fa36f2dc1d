"""Tables of experiments: as files, as means with their spread, and differences of two means."""

from __future__ import annotations

import csv
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from pyneural.errors import check_argument
from pyneural.experiments import store
from pyneural.training.state.replacing import replaced

LEVEL = 0.05  # probability of an error that is accepted


def write_csv(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a table; columns of lists are left out, and what is missing is an empty field."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lists = {name for row in rows for name, value in row.items() if isinstance(value, (list, dict))}
    columns = [name for name in names if name not in lists]
    with replaced(Path(path)) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes numbers, texts, lists and dicts of them; what is not finite becomes null."""
    store.write_json(Path(path), value)


def summary(rows: Sequence[Mapping[str, Any]], by: str | Sequence[str]) -> list[dict[str, Any]]:
    """Means and standard deviations over the rows that agree in some columns, as over seeds.

    Returns:
        a row for each of them, in the order of the first ones, with those columns, ``count``, and
        for each column of numbers its mean and, as ``NAME_std``, its standard deviation: None of
        one row. None in a column is left out of both, and booleans are numbers.

    >>> rows = [{"model": "vae", "seed": s, "loss": s + 1.0} for s in (0, 1, 2)]
    >>> summary(rows, "model")
    [{'model': 'vae', 'count': 3, 'loss': 2.0, 'loss_std': 1.0}]
    """
    by = [by] if isinstance(by, str) else list(by)
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    found = []
    for key, group in groups.items():
        means: dict[str, Any] = dict(zip(by, key, strict=True)) | {"count": len(group)}
        for name in dict.fromkeys(name for row in group for name in row):
            values = [row.get(name) for row in group]
            numbers = [float(v) for v in values if isinstance(v, (int, float))]
            if name in by or name == "seed" or not numbers:
                continue
            means[name] = statistics.mean(numbers)
            means[f"{name}_std"] = statistics.stdev(numbers) if len(numbers) > 1 else None
        found.append(means)
    return found


class Difference(NamedTuple):
    """The difference of two means.

    Attributes:
        mean: it.
        low, high: ends of its interval of 95 % confidence, of this difference alone.
        p: probability of one as far from 0, if the true one were 0. Of several differences that are
            told together ``corrected`` gives that of any of them.
    """

    mean: float
    low: float
    high: float
    p: float

    @property
    def distinct(self) -> bool:
        """Whether p < 0.05: the spread alone does not explain the difference."""
        return self.p < LEVEL


def difference(x: Sequence[float], y: Sequence[float]) -> Difference:
    """How much larger the mean of x is than that of y, as measured over seeds.

        mean x - mean y +- t s,   s^2 = s_x^2 / N + s_y^2 / M

    where t is the quantile of Student's distribution with Welch's degrees of freedom. Without any
    spread nothing can be told, of one value each as of values that are all the same, since those
    are rounded, or do not depend on the seed: the interval is infinite then, and p is 1.

    Args:
        x: values, [N], independent and about normal.
        y: values, [M].

    Raises:
        ArgumentError: no values, or some that are not finite.
        ImportError: scipy is not installed.

    Source: Welch, Biometrika 34, 28 (1947).

    >>> difference([1.0, 1.1, 0.9], [3.0, 3.1, 2.9]).distinct
    True
    >>> difference([1.0, 3.0], [2.0, 2.5]).distinct
    False
    """
    good = len(x) > 0 and len(y) > 0 and all(map(math.isfinite, [*x, *y]))
    got = f"{list(x)} and {list(y)}"
    check_argument(good, "difference: x and y", "finite numbers", got, "leave failed cells out")
    mean = statistics.mean(x) - statistics.mean(y)
    parts = [(statistics.variance(v) / len(v), len(v) - 1) for v in (x, y) if len(v) > 1]
    square = sum(part for part, _ in parts)
    if len(parts) < 2 or square == 0:
        return Difference(mean, -math.inf, math.inf, 1.0)
    freedom = square**2 / sum(part**2 / n for part, n in parts)
    error = math.sqrt(square)
    half = error * student_quantile(1 - LEVEL / 2, freedom)
    p = 2 * float(stats().t.sf(abs(mean) / error, freedom))
    return Difference(mean, mean - half, mean + half, p)


def student_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's distribution with some degrees of freedom.

    >>> round(student_quantile(0.975, 10), 3)
    2.228
    """
    return float(stats().t.ppf(probability, freedom))


def stats() -> Any:
    """The statistics of scipy; ImportError with the remedy where there is none."""
    try:
        return import_module("scipy.stats")
    except ImportError as error:
        raise ImportError(
            "experiments: expected scipy, got none; pip install 'pyneural[data]'"
        ) from error
