"""What networks look at: maps, their randomisation, deletion, and what excites a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.plots import style
from pyneural.plots.latent_variables import mosaic


def explanations(
    maps: Mapping[str, Tensor],
    cascades: Mapping[str, Tensor],
    deletions: tuple[Tensor, Mapping[str, Tensor]],
    excited: Tensor,
    traversal: Tensor,
    series: tuple[Mapping[str, Tensor], Sequence[int]],
    table: tuple[Mapping[str, Tensor], Sequence[str]],
    *,
    bar: float,
) -> Any:
    """Attributions of images, a series and a table, and tests of them.

    Args:
        maps: images [R, H, W], then attributions of the same shape by method; the last row is the
            row above with random weights.
        cascades: rank correlation of magnitudes, [seeds, layers], from the output down, by method.
        deletions: fractions [K], and the output [K] by method; one may be "random order".
        excited: images [10, H, W] that excite each class.
        traversal: images [J, K, H, W], a row for each latent variable.
        series: shares of the steps [T] by method, and the steps that the answer depends on.
        table: shares of the columns [C] by method, and their names.
        bar: correlation above which a method is not trusted.

    >>> pictures = {name: torch.rand(3, 8, 8) for name in ("digit", "a", "b")}
    >>> figure = explanations(
    ...     pictures, {"a": torch.rand(2, 3), "b": torch.rand(2, 3)},
    ...     (torch.linspace(0, 1, 4), {"a": torch.rand(4), "random order": torch.rand(4)}),
    ...     torch.rand(10, 8, 8), torch.rand(2, 3, 8, 8), ({"a": torch.rand(6)}, [1, 4]),
    ...     ({"a": torch.rand(2)}, ["length", "mass"]), bar=0.2,
    ... )
    >>> len(figure.axes)
    15
    """
    with style.figure(17, 11.5) as figure:
        above, below = figure.subfigures(2, 1, height_ratios=(1.3, 1))
        left, right = above.subfigures(1, 2, width_ratios=(1.75, 1))
        _draw_maps(left, maps)
        over, under = right.subplots(2, 1)
        _draw_cascades(over, cascades, bar)
        _draw_deletions(under, *deletions)
        left, right = below.subfigures(1, 2, width_ratios=(1, 1.5))
        over, under = left.subplots(2, 1, height_ratios=(1, 1.1))
        _draw_mosaic(over, excited.unflatten(0, (2, -1)), "Images that excite the outputs 0 to 9")
        _draw_mosaic(under, traversal, "A digit while one latent variable changes, a row each")
        over, under = right.subplots(2, 1)
        _draw_series(over, *series)
        _draw_table(under, *table)
    return figure


def _draw_maps(figure: Any, maps: Mapping[str, Tensor]) -> None:
    rows = len(next(iter(maps.values())))
    panels = figure.subplots(rows, len(maps), squeeze=False)
    for column, (name, images) in enumerate(maps.items()):
        for axes, image in zip(panels[:, column], images, strict=True):
            if column == 0:
                style.draw_image(axes, image, cmap="gray_r", vmin=0, vmax=1)
                continue
            size = float(image.abs().flatten().quantile(0.995)) or 1.0
            style.draw_image(axes, image, cmap=style.SIGNED, vmin=-size, vmax=size)
        panels[0, column].set_title(name.replace(" ", "\n", 1), fontsize=13, loc="center")
    for axes in panels[-1]:
        axes.spines[:].set_visible(True)
        axes.spines[:].set(color=style.VERMILION, linewidth=2)
    panels[-1, 0].set_ylabel("random\nweights", color=style.VERMILION)
    panels[0, 0].set_ylabel("trained")
    figure.suptitle("For (red) and against (blue) the class of a digit", x=0.01, ha="left")


def _draw_cascades(axes: Any, cascades: Mapping[str, Tensor], bar: float) -> None:
    for number, (name, values) in enumerate(cascades.items()):
        whole = torch.cat([torch.ones(len(values), 1), values], 1)
        steps, mean, color = range(whole.shape[1]), whole.mean(0), style.CYCLE[number]
        axes.plot(steps, mean, color=color, label=name, linewidth=_width(number))
        axes.fill_between(steps, whole.amin(0), whole.amax(0), color=color, alpha=0.2, linewidth=0)
    axes.axhline(bar, color=style.GREY, linestyle=(0, (4, 2)), linewidth=1.2)
    axes.set(ylim=(-0.1, 1.04), xticks=steps, ylabel="rank correlation",
             xlabel="layers with random weights, from the output down")  # fmt: skip
    axes.set_title("What is left of the maps (magnitude)")
    axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.57), fontsize=10.5)


def _width(number: int) -> float:
    """Of the lines, so that one behind another shows on both sides."""
    return 5.0 - 0.8 * number


def _draw_deletions(axes: Any, fractions: Tensor, curves: Mapping[str, Tensor]) -> None:
    for number, (name, values) in enumerate(curves.items()):
        if name == "random order":
            axes.plot(100 * fractions, values, color=style.GREY, linestyle=":")
            where = len(fractions) // 2
            axes.annotate(name, (100 * fractions[where], values[where]), (0, -8), ha="right",
                          va="top", textcoords="offset points", color=style.GREY)  # fmt: skip
        else:
            color = style.CYCLE[number]
            axes.plot(100 * fractions, values, color=color, linewidth=_width(number))
    axes.set(xlabel="pixels deleted, those of largest attribution first (%)", ylim=(0, 1.02),
             ylabel="probability")  # fmt: skip
    axes.set_title("Probability of the class under deletion")


def _draw_mosaic(axes: Any, images: Tensor, title: str) -> None:
    style.draw_image(axes, mosaic(images, gap=0.15), cmap="gray_r", vmin=0, vmax=1)
    axes.set_title(title)


def _draw_series(axes: Any, shares: Mapping[str, Tensor], marked: Sequence[int]) -> None:
    rows = torch.stack([share / share.max() for share in shares.values()])
    axes.imshow(rows, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(rows)), list(shares))
    above = [-0.75] * len(marked)
    axes.plot(marked, above, "v", color=style.VERMILION, clip_on=False, markersize=9)
    axes.tick_params(length=0)
    axes.set_xlabel("step of a series; the answer is the sum at the two marked steps (red)")
    axes.set_title("Magnitude in each step", pad=14)


def _draw_table(axes: Any, shares: Mapping[str, Tensor], columns: Sequence[str]) -> None:
    rows = torch.stack(list(shares.values()))
    axes.imshow(rows, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(rows)), list(shares))
    axes.set_xticks(range(len(columns)), columns)
    axes.tick_params(length=0)
    for row, values in enumerate(rows.tolist()):
        for column, value in enumerate(values):
            color = "white" if value > 0.5 else style.BLACK
            axes.text(column, row, f"{100 * value:.0f} %", ha="center", va="center", color=color)
    axes.set_title("Period of a pendulum: share of the magnitude in each column")
