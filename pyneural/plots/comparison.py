"""Models side by side: measures with their spread over seeds, and samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.plots import style
from pyneural.plots.latent_variables import mosaic

_ACROSS = 6  # panels of samples in a row
_LEGEND = "Dots: seeds. Dashed: real rows in place of samples. Bold: cannot be told from the best"
_EDGE = 0.01  # share of the real rows left outside of a panel


class Measure(NamedTuple):
    """A panel of dots: a row each model, a dot each seed."""

    title: str
    values: Mapping[str, Sequence[float]]  # by model; none of a model without this measure
    real: Sequence[float] = ()  # what real rows score in place of samples
    logarithmic: bool = False


def comparison(
    measures: Sequence[Measure],
    models: Sequence[str],
    samples: Mapping[str, Tensor],
    *,
    chosen: Sequence[str] = (),
    columns: Sequence[str] = ("", ""),
    high: float = 1.0,
) -> Any:
    """Measures of models, a panel each, above samples of each of them.

    Args:
        measures: panels.
        models: names, from top to bottom.
        samples: by name, that of the data first: images [N, H, W] or points [N, 2].
        chosen: models whose names are set bold: those that cannot be told from the best.
        columns: names of the two columns of points.
        high: value of a pixel that is drawn black; 0 is white.

    >>> found = Measure("C2ST", {"a": [0.6, 0.7], "b": [0.8]}, [0.5])
    >>> points = {name: torch.randn(50, 2) for name in ("data", "a", "b")}
    >>> len(comparison([found], ["a", "b"], points, columns=("x", "y")).axes)
    4
    """
    down = math.ceil(len(samples) / _ACROSS)
    across = math.ceil(len(samples) / down)
    above, each = 1.9 + 0.34 * len(models), min(3.4, 15.0 / across)
    with style.figure(14.0, above + each * down) as figure:
        top, bottom = figure.subfigures(2, 1, height_ratios=(above, each * down))
        top.suptitle(_LEGEND, x=0.01, ha="left", fontsize=12, color=style.GREY)
        panels = top.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            _draw_measure(axes, measure, models)
        panels[0].set_yticks(range(len(models)), models)
        for label, model in zip(panels[0].get_yticklabels(), models, strict=True):
            label.set_fontweight("bold" if model in chosen else "normal")
        panels[0].set_ylim(len(models) - 0.5, -0.5)
        pictures = bottom.subplots(down, across, squeeze=False).flatten()
        real = next(iter(samples.values())).detach().float()
        for axes in pictures[len(samples) :]:
            axes.set_axis_off()
        for axes, (name, some) in zip(pictures, samples.items(), strict=False):
            if real.dim() == 3:
                _draw_images(axes, some.detach().float(), high)
            else:
                _draw_points(axes, some.detach().float(), real)
            weight = "bold" if name in chosen else "normal"
            axes.set_title(name, fontsize=12, fontweight=weight)
        if real.dim() == 2:
            pictures[0].set(xlabel=columns[0], ylabel=columns[1])
    return figure


def _draw_measure(axes: Any, measure: Measure, models: Sequence[str]) -> None:
    if measure.real:
        mean = sum(measure.real) / len(measure.real)
        axes.axvline(mean, color=style.GREY, linestyle=(0, (4, 2)), linewidth=1.5)
    for place, model in enumerate(models):
        values = [v for v in measure.values.get(model, ()) if v is not None and math.isfinite(v)]
        if not values:
            axes.text(0.03, place, "none", transform=axes.get_yaxis_transform(), va="center",
                      color=style.GREY, fontsize=10)  # fmt: skip
            continue
        axes.plot([min(values), max(values)], [place, place], color=style.SKY, linewidth=2)
        axes.plot(values, [place] * len(values), "o", color=style.BLUE, markersize=6, alpha=0.8)
    if measure.logarithmic:
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=4)
    axes.set_title(measure.title, fontsize=12)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def _draw_points(axes: Any, points: Tensor, real: Tensor) -> None:
    low, high = real.quantile(_EDGE, dim=0), real.quantile(1 - _EDGE, dim=0)
    room = 0.15 * (high - low)
    ends = torch.stack([low - room, high + room], 1).tolist()
    axes.scatter(*points.T, s=5, color=style.BLUE, alpha=0.5, linewidths=0)
    axes.set(xlim=ends[0], ylim=ends[1], xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color="0.8")


def _draw_images(axes: Any, images: Tensor, high: float) -> None:
    across = max(1, round(math.sqrt(1.5 * len(images))))
    count = len(images) // across * across
    grid = images[:count].unflatten(0, (count // across, across))
    style.draw_image(axes, mosaic(grid, gap=0.12 * high), cmap="gray_r", vmin=0, vmax=high)
