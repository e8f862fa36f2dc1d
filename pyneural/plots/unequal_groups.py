"""Errors of two groups that had unequal shares of the training, and images of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.plots import style

_COLORS = (style.BLUE, style.VERMILION)
_GAP = 1  # pixels between images; between the groups three
_GREY = 0.5

Interval = tuple[float, float, float]  # mean, lower and upper end


class GroupErrors(NamedTuple):
    """Errors of one group.

    Attributes:
        name: of the group.
        by_share: error by the share of the group in the training, in %.
        ratios: of its errors as the minority to those in a control, by name.
    """

    name: str
    by_share: Mapping[float, Interval]
    ratios: Mapping[str, Interval]


class UnequalGroups(NamedTuple):
    """What was found for one problem.

    Attributes:
        title: of the row.
        groups: two of them.
        images: for each group rows of images by name, [N, C, H, W] with C of 1 or 3.
        headings: over the images of each group.
    """

    title: str
    groups: Sequence[GroupErrors]
    images: Sequence[Mapping[str, Tensor]]
    headings: Sequence[str]


def unequal_groups(rows: Sequence[UnequalGroups]) -> Any:
    """A row for each problem: errors by share, ratios to the balanced control, images.

    Args:
        rows: one for each problem.

    >>> errors = {5.0: (2.0, 1.8, 2.2), 50.0: (1.0, 0.9, 1.1)}
    >>> group = GroupErrors("ones", errors, {"as 5 %": (2.0, 1.8, 2.2)})
    >>> images = {"truth": torch.rand(4, 1, 8, 8)}
    >>> row = UnequalGroups("digits", [group] * 2, [images] * 2, ["ones", "twos"])
    >>> len(unequal_groups([row]).axes)
    3
    """
    with style.figure(17.5, 4.9 * len(rows)) as figure:
        parts = figure.subfigures(len(rows), 1, squeeze=False, hspace=0.02)[:, 0]
        for part, row in zip(parts, rows, strict=True):
            part.suptitle(row.title, fontsize=16, x=0.008, ha="left")
            left, middle, right = part.subplots(1, 3, width_ratios=(1, 1, 2.5))
            _draw_shares(left, row.groups)
            _draw_ratios(middle, row.groups)
            _draw_images(right, row)
    return figure


def _draw_shares(axes: Any, groups: Sequence[GroupErrors]) -> None:
    for group, color, marker in zip(groups, _COLORS, "os", strict=True):
        shares = sorted(group.by_share)
        means, lows, highs = zip(*(group.by_share[share] for share in shares), strict=True)
        _draw_bars(axes.vlines, shares, lows, highs, color)
        axes.plot(shares, means, color=color, marker=marker, markersize=7, label=group.name)
    axes.set(xlabel="share of the group in the training (%)", xticks=shares, xlim=(-3, 103))
    axes.set(ylabel="error of the group (RMS)", title="Error by share")
    axes.set_ylim(0, 1.22 * axes.get_ylim()[1])
    axes.legend(loc="upper right")


def _draw_ratios(axes: Any, groups: Sequence[GroupErrors]) -> None:
    names = list(groups[0].ratios)
    axes.axvline(1, color=style.GREY, linewidth=1.2, linestyle=(0, (4, 2)))
    for group, color, marker, shift in zip(groups, _COLORS, "os", (-0.15, 0.15), strict=True):
        means, lows, highs = zip(*(group.ratios[name] for name in names), strict=True)
        places = [place + shift for place in range(len(names))]
        _draw_bars(axes.hlines, places, lows, highs, color)
        axes.plot(means, places, marker, color=color, markersize=8, label=group.name)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set(xlabel="ratio of errors of the same group", title="Unequal shares / control")


def _draw_bars(
    draw: Any, places: Sequence[float], lows: Sequence[float], highs: Sequence[float], color: str
) -> None:
    """Intervals as lines; those of one seed are infinite, and not drawn."""
    for place, low, high in zip(places, lows, highs, strict=True):
        if math.isfinite(low) and math.isfinite(high):
            draw([place], low, high, color=color, linewidth=3.5, alpha=0.55)


def _draw_images(axes: Any, row: UnequalGroups) -> None:
    names = list(row.images[0])
    parts = [torch.cat([_line(images[name]) for name in names], 1) for images in row.images]
    gap = parts[0].new_ones(3, parts[0].shape[1], 3 * _GAP)
    picture = torch.cat([parts[0], gap, parts[1]], 2)[:, :-_GAP, :-_GAP]
    style.draw_image(axes, picture.movedim(0, 2), interpolation="nearest")
    height = parts[0].shape[1] / len(names)
    axes.set_yticks([height * (i + 0.5) - 0.5 for i in range(len(names))], names)
    axes.tick_params(left=False)
    axes.set_xlabel("held-out images, by the share of their group in the training")
    start = 0
    for part, heading, color in zip(parts, row.headings, _COLORS, strict=True):
        middle = start + part.shape[2] / 2
        axes.text(middle, -1.5, heading, color=color, fontsize=13, ha="center", va="bottom")
        start += part.shape[2] + 3 * _GAP


def _line(images: Tensor) -> Tensor:
    """Images [N, C, H, W] side by side as one [3, H + 1, N (W + 1)]."""
    wide = torch.nn.functional.pad(images.detach().cpu().float(), (0, _GAP, 0, _GAP), value=_GREY)
    line = wide.clamp(0, 1).permute(1, 2, 0, 3).flatten(2)
    return line.expand(3, -1, -1)
