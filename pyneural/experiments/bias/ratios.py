"""What unequal shares of two groups do to their errors: ratios, and what these say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyneural.experiments.bias.trainings import BALANCED, FEW
from pyneural.experiments.contrasts import Ratio, corrected, ratio

Errors = Mapping[str, Sequence[float]]  # of a group, [seeds] by the setting


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

    @property
    def told(self) -> dict[str, dict[str, Ratio]]:
        """The ratios that ``conclusions`` speaks of, by attribute and repair."""
        return {
            "minority": {"": self.minority}, "crowding": {"": self.crowding},
            "remains": dict(self.remains), "gains": dict(self.gains), "costs": dict(self.costs),
        }  # fmt: skip


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
    r"""What the ratios of a group say: something only where p < 0.05; see ``judged_together``.

    >>> same, more = Ratio(1.0, 0.9, 1.1, p=0.9), Ratio(1.8, 1.6, 2.0, p=0.001)
    >>> ones = GroupBias("ones", more, same, same, {}, {}, {})
    >>> print("\n".join(conclusions(ones)))
    as 5 % of the images 1.80 (1.60 to 2.00): the bias is in the data
    against as few of both 1.00 (0.90 to 1.10): can't tell
    """
    few = found.minority.says("the bias is in the data", "fewer do no harm", "can't tell")
    others = found.crowding.says("the majority does harm", "the majority helps", "can't tell")
    lines = [
        f"as 5 % of the images {found.minority}: {few}",
        f"against as few of both {found.crowding}: {others}",
    ]
    for repair, left in found.remains.items():
        gain, price = found.gains[repair], found.costs[repair]
        change = f"{100 * abs(gain.mean - 1):.1f} %"
        does = gain.says(f"{change} worse", f"helps by {change}", "no clear effect")
        rest = left.says("bias remains", "better than the control", "bias may remain")
        lines.append(f"{repair} {left}: {does}, {rest}")
        cost = f"  costs this group {100 * (price.mean - 1):.0f} % as the majority"
        lines += [line for line in [price.says(cost, "", "")] if line]
    return lines


def judged_together(
    groups: Sequence[GroupBias], others: Sequence[Ratio]
) -> tuple[list[GroupBias], list[Ratio]]:
    """Groups and further ratios of an experiment, with p corrected for all that is concluded.

    Those are all but ``majority``, of which ``conclusions`` says nothing; see ``corrected``.

    >>> clear, not_so = Ratio(1.8, 1.6, 2.0, p=0.01), Ratio(1.2, 1.1, 1.3, p=0.04)
    >>> (group,), _ = judged_together([GroupBias("a", clear, not_so, clear, {}, {}, {})], [])
    >>> group.minority.p, group.crowding.p, group.majority.p
    (0.02, 0.04, 0.01)
    """
    told = [one for group in groups for part in group.told.values() for one in part.values()]
    left = iter(corrected([*told, *others]))
    found = []
    for group in groups:
        new = {name: {key: next(left) for key in part} for name, part in group.told.items()}
        minority, crowding = new["minority"][""], new["crowding"][""]
        remains, gains, costs = new["remains"], new["gains"], new["costs"]
        found.append(
            GroupBias(group.name, minority, crowding, group.majority, remains, gains, costs)
        )
    return found, list(left)


def harder(groups: Sequence[str], found: Ratio) -> str:
    """Which of two groups has the larger error in the balanced control: that is no bias.

    >>> harder(("ones", "twos"), Ratio(2.0, 1.8, 2.2, p=0.001))
    '2.00 (1.80 to 2.20): ones are harder, which is no bias'
    """
    return f"{found}: " + found.says(
        f"{groups[0]} are harder, which is no bias", f"{groups[1]} are harder, which is no bias",
        "can't tell which are harder",
    )  # fmt: skip
