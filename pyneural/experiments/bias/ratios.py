"""What unequal shares of two groups do to their errors: ratios, and what these say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pyneural.errors import check_argument
from pyneural.experiments.bias.trainings import BALANCED, FEW
from pyneural.experiments.tables import difference

Errors = Mapping[str, Sequence[float]]  # of a group, [seeds] by the setting


class Ratio(NamedTuple):
    """A ratio of errors, with its interval of 95 % confidence over the seeds."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if not math.isfinite(self.high):
            return f"{self.mean:.2f} (one seed)"
        mean, low, high = (f"{v:.2f}" if v < 100 else f"{v:.0e}" for v in self)
        return f"{mean} ({low} to {high})"

    def says(self, above: str, below: str, between: str) -> str:
        """One of three texts: the interval lies above 1, below it, or contains it.

        >>> Ratio(1.8, 1.6, 2.0).says("larger", "smaller", "can't tell")
        'larger'
        """
        return above if self.low > 1 else below if self.high < 1 else between


def ratio(x: Sequence[float], y: Sequence[float]) -> Ratio:
    """How many times larger the errors x are than y, which were measured with the same seeds.

        exp(mean of r +- t std(r) / sqrt(S)),   r_s = log x_s - log y_s

    where t is the quantile of Student's distribution with S - 1 degrees of freedom. The errors of a
    seed belong together: start of the network and images that are drawn are the same, as far as the
    settings let them. The held-out images are the same for all, so that the interval is about other
    trainings, not about other held-out images. Of one seed nothing can be told.

    Args:
        x: errors by seed, [S].
        y: errors of the same seeds, [S].

    Raises:
        ArgumentError: different numbers of seeds, or errors that are not positive.
        ImportError: scipy is missing.

    >>> print(ratio([2.0, 2.2, 1.8], [1.0, 1.0, 1.0]))
    1.99 (1.55 to 2.56)
    """
    good, got = len(x) == len(y) > 0, f"{len(x)} and {len(y)}"
    check_argument(good, "ratio: x and y", "errors of the same seeds", got, "leave seeds out")
    good, got = all(0 < value < math.inf for value in [*x, *y]), f"{list(x)} and {list(y)}"
    check_argument(good, "ratio: x and y", "positive errors", got, "leave failed trainings out")
    logs = [math.log(a / b) for a, b in zip(x, y, strict=True)]
    mean, low, high = difference(logs, [0.0] * len(logs))
    # Of one seed the interval is infinite, and exp(inf) is no error but exp(1000) would be.
    return Ratio(*(math.exp(value) if value < 700 else math.inf for value in (mean, low, high)))


@dataclass(frozen=True)
class GroupBias:
    """What unequal shares do to one group. All ratios are of the errors of this group.

    Attributes:
        name: of the group.
        minority: with 5 % of the images, to the balanced control with as many images in all.
        crowding: with 5 % of the images, to the balanced control with as many images of this group:
            what the many images of the other group do.
        majority: with 95 % of the images, to the balanced control.
        remains: by repair, the minority with it, to the balanced control.
        gains: by repair, the minority with it, to the minority without.
        costs: by repair, the majority with it, to the majority without.
    """

    name: str
    minority: Ratio
    crowding: Ratio
    majority: Ratio
    remains: Mapping[str, Ratio]
    gains: Mapping[str, Ratio]
    costs: Mapping[str, Ratio]


def group_bias(name: str, errors: Errors, group: int) -> GroupBias:
    """The ratios of group 0 or 1 from its errors by the setting, as of ``errors_of``."""
    minority, majority = ("5:95", "95:5")[:: 1 if group == 0 else -1]

    def of(setting: str, control: str) -> Ratio:
        return ratio(errors[setting], errors[control])

    repairs = ("reweighted", "resampled")
    return GroupBias(
        name,
        minority=of(minority, BALANCED),
        crowding=of(minority, FEW),
        majority=of(majority, BALANCED),
        remains={repair: of(f"{minority} {repair}", BALANCED) for repair in repairs},
        gains={repair: of(f"{minority} {repair}", minority) for repair in repairs},
        costs={repair: of(f"{majority} {repair}", majority) for repair in repairs},
    )


def conclusions(found: GroupBias) -> list[str]:
    r"""What the ratios of a group say: something only where an interval does not contain 1.

    >>> same, more = Ratio(1.0, 0.9, 1.1), Ratio(1.8, 1.6, 2.0)
    >>> ones = GroupBias("ones", more, same, same, {}, {}, {})
    >>> print("\n".join(conclusions(ones)))
    as 5 % of the images 1.80 (1.60 to 2.00): the bias is in the data
    against as few of both 1.00 (0.90 to 1.10): can't tell
    """
    verdict = found.minority.says("the bias is in the data", "fewer do no harm", "can't tell")
    others = found.crowding.says("the majority does harm", "the majority helps", "can't tell")
    lines = [
        f"as 5 % of the images {found.minority}: {verdict}",
        f"against as few of both {found.crowding}: {others}",
    ]
    for repair, left in found.remains.items():
        gain, price = found.gains[repair], found.costs[repair]
        change = f"{100 * abs(gain.mean - 1):.1f} %"
        does = gain.says(f"{change} worse", f"helps by {change}", "no clear effect")
        rest = left.says("bias remains", "better than the control", "bias may remain")
        lines.append(f"{repair} {left}: {does}, {rest}")
        if price.low > 1:
            lines.append(f"  costs this group {100 * (price.mean - 1):.0f} % as the majority")
    return lines


def harder(groups: Sequence[str], first: Errors, second: Errors) -> str:
    """Which of two groups has the larger error in the balanced control: that is no bias.

    >>> harder(("ones", "twos"), {"50:50": [0.2, 0.2]}, {"50:50": [0.1, 0.1]})
    '2.00 (2.00 to 2.00): ones are harder, which is no bias'
    """
    found = ratio(first[BALANCED], second[BALANCED])
    verdict = found.says(
        f"{groups[0]} are harder, which is no bias", f"{groups[1]} are harder, which is no bias",
        "can't tell which are harder",
    )  # fmt: skip
    return f"{found}: {verdict}"
