"""Sweeps of hyperparameters: a panel each, with the spread over seeds and what follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.plots import style

_COLUMNS, _WIDTH, _HEIGHT, _LINE = 3, 17.0, 3.6, 0.24  # inches: of the figure, a panel, a line


class SweepPanel(NamedTuple):
    """One hyperparameter.

    Attributes:
        title: what the panel is about.
        xlabel, ylabel: the hyperparameter, and what was measured.
        settings: names of its values.
        values: positive numbers [seeds, settings] by their name.
        notes: what follows, each a text and whether it confirms (True), contradicts (False) or
            leaves open (None) what the title says.
        bounds: which values are lower bounds, bool [seeds, settings] by their name.
    """

    title: str
    xlabel: str
    ylabel: str
    settings: Sequence[str]
    values: Mapping[str, Tensor]
    notes: Sequence[tuple[str, bool | None]] = ()
    bounds: Mapping[str, Tensor] = MappingProxyType({})


def sweeps(panels: Sequence[SweepPanel], title: str = "") -> Any:
    """Quantities by the setting of a hyperparameter: lines are geometric means, dots the seeds.

    Triangles are seeds of which there is a lower bound, with which they count.

    >>> import torch
    >>> errors = {"training": torch.rand(5, 3) + 0.1, "held out": torch.rand(5, 3) + 0.2}
    >>> panel = SweepPanel("Width", "units", "error", ["2", "8", "32"], errors, [("holds", True)])
    >>> len(sweeps([panel, panel]).axes)
    2
    """
    rows = math.ceil(len(panels) / _COLUMNS)
    notes = [
        max(len(panel.notes) for panel in panels[row * _COLUMNS : (row + 1) * _COLUMNS])
        for row in range(rows)
    ]
    heights = [_HEIGHT + _LINE * lines for lines in notes]
    with style.figure(_WIDTH, sum(heights) + 0.5) as figure:
        if title:
            figure.suptitle(title, fontsize=17, x=0.008, ha="left")
        grid = figure.add_gridspec(rows, _COLUMNS, height_ratios=heights)
        for index, panel in enumerate(panels):
            row, column = divmod(index, _COLUMNS)
            _draw(figure.add_subplot(grid[row, column]), panel, notes[row])
    return figure


def _draw(axes: Any, panel: SweepPanel, lines: int) -> None:
    places = range(len(panel.settings))
    for (name, values), color in zip(panel.values.items(), style.CYCLE, strict=False):
        axes.plot(places, values.log().mean(0).exp(), "-", color=color, label=name)
        bounds = panel.bounds.get(name, torch.zeros_like(values, dtype=torch.bool))
        for marker, size, chosen in (("o", 4, ~bounds), ("^", 7, bounds)):
            seeds, settings = chosen.nonzero().T
            dots = {"color": color, "markersize": size, "alpha": 0.45, "markeredgewidth": 0}
            label = "at least" if marker == "^" and len(seeds) else None
            axes.plot(settings, values[seeds, settings], marker, label=label, **dots)
    axes.set_yscale("log")
    everything = [value for values in panel.values.values() for value in values.flatten().tolist()]
    low, high = min(everything), max(everything)
    axes.set_ylim(low / 1.25, high * 1.25)
    _label_decades(axes, low, high)
    axes.set_xticks(places, panel.settings)
    axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    axes.grid(axis="y", alpha=0.25)
    if len(panel.values) > 1:
        axes.legend()
    axes.set_title(panel.title, pad=6 + 72 * _LINE * lines, fontsize=14)
    for place, (text, confirms) in enumerate(panel.notes):
        color = {True: style.GREEN, False: style.VERMILION, None: style.GREY}[confirms]
        note = axes.annotate(
            text, (0, 1), xycoords="axes fraction", color=color, fontsize=11,
            xytext=(0, 4 + 72 * _LINE * (lines - 1 - place)), textcoords="offset points",
        )  # fmt: skip
        note.set_in_layout(False)  # a long one does not make the panel narrow


def _label_decades(axes: Any, low: float, high: float) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, or at fewer or more of them."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 300 * low else (1,)
    ticks = [step * 10.0**power for power in powers for step in steps]
    shown = [tick for tick in ticks if low / 1.25 <= tick <= high * 1.25]
    if len(shown) < 3:
        shown = [step * 10.0**power for power in powers for step in (1, 1.5, 2, 3, 5, 7)]
        shown = [tick for tick in shown if low / 1.25 <= tick <= high * 1.25]
    axes.set_yticks(shown, [f"{tick:g}" for tick in shown])
    axes.minorticks_off()
