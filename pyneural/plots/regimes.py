"""Error against the amount of data, for several ways to a model, and where each is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.plots import style


class Fits(NamedTuple):
    """Models of one set of measurements.

    Attributes:
        title: of the panel.
        t, truth: times and the true values there, [T] each.
        measured: times and values of the measurements, [2, N].
        models: values [T] by the name of the way.
    """

    title: str
    t: Tensor
    truth: Tensor
    measured: Tensor
    models: Mapping[str, Tensor]


def regimes(
    counts: Sequence[int], errors: Mapping[str, Tensor], examples: Sequence[Fits], title: str = ""
) -> Any:
    """Errors with their spread over the number of measurements, shaded by the best way; examples.

    Lines are medians over the seeds, bands reach from the smallest to the largest.

    Args:
        counts: numbers of measurements, increasing.
        errors: relative errors [seeds, counts] by the name of the way.
        examples: models of single sets of measurements, a panel each.
        title: of the figure.

    >>> errors = {"data": torch.tensor([[0.5, 0.1]]), "theory": torch.tensor([[0.2, 0.2]])}
    >>> t = torch.linspace(0, 1, 5)
    >>> fits = Fits("2 measurements", t, t, torch.zeros(2, 2), {"data": t, "theory": 0.9 * t})
    >>> len(regimes([2, 20], errors, [fits]).axes)
    2
    """
    colors = dict(zip(errors, style.CYCLE, strict=False))
    with style.figure(14, 7.2) as figure:
        left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
        if title:
            figure.suptitle(title, fontsize=16, x=0.012, ha="left")
        axes = left.subplots()
        _winners(axes, counts, errors, colors)
        for name, values in errors.items():
            low, middle, high = values.amin(0), values.quantile(0.5, 0), values.amax(0)
            axes.fill_between(counts, low, high, color=colors[name], alpha=0.25, linewidth=0)
            axes.plot(counts, middle, "o-", color=colors[name], markersize=5, label=name)
        axes.set(xscale="log", yscale="log", xlabel="number of measurements")
        axes.set_ylabel("relative $L_2$ error")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.set_xlim(counts[0], counts[-1])
        axes.legend(loc="lower left")
        panels = right.subplots(len(examples), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for panel, fits in zip(panels, examples, strict=True):
            panel.plot(fits.t, fits.truth, color=style.BLACK, linewidth=3, alpha=0.35)
            for name, values in fits.models.items():
                panel.plot(fits.t, values, color=colors[name], linewidth=1.5)
            panel.plot(*fits.measured, ".", color=style.GREY, markersize=4, zorder=1)
            panel.set(title=fits.title, ylabel="angle")
            bound = 1.4 * float(fits.truth.abs().max())
            panel.set_ylim(-bound, bound)
        panels[-1].set_xlabel("$t$")
    return figure


def _winners(
    axes: Any, counts: Sequence[int], errors: Mapping[str, Tensor], colors: Mapping[str, str]
) -> None:
    """Shades where each way has the smallest median, and names it once, where that is widest."""
    names = list(errors)
    best = torch.stack([errors[name].quantile(0.5, 0) for name in names]).argmin(0).tolist()
    edges = [counts[0], *((a * b) ** 0.5 for a, b in pairwise(counts))]
    edges.append(counts[-1])
    widest: dict[str, tuple[float, float]] = {}  # ratio of its ends, middle
    first = 0
    for index in range(1, len(best) + 1):
        if index == len(best) or best[index] != best[first]:
            name, low, high = names[best[first]], edges[first], edges[index]
            axes.axvspan(low, high, color=colors[name], alpha=0.08, linewidth=0)
            widest[name] = max(widest.get(name, (0.0, 0.0)), (high / low, (low * high) ** 0.5))
            first = index
    for name, (_, middle) in widest.items():
        axes.annotate(
            f"{name} best", (middle, 1.0), xycoords=("data", "axes fraction"),
            xytext=(0, 4), textcoords="offset points", ha="center", color=colors[name],
        )  # fmt: skip
