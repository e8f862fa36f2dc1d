"""Posteriors of two parameters, and whether they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.plots import style

_KOLMOGOROV = 1.358  # 95 % of the largest distances from the diagonal are below this / sqrt(N)
_NORMAL = 1.96  # 95 % of a normal variable is within so many standard deviations
_BINS = 20
_BAND = "95 % of exact posteriors"

Curve = tuple[Tensor, Tensor]  # levels and coverage, [L] each


def posteriors(
    samples: Mapping[str, Tensor],
    regions: Mapping[str, tuple[Tensor, str]],
    corner: tuple[float, float],
    width: float,
    curves: Mapping[str, Mapping[str, Curve]],
    ranks: Mapping[str, Tensor],
    count: int,
) -> Any:
    """Samples of posteriors side by side, their coverage, and the ranks of the truth.

    Args:
        samples: of one observation, [M, 2], by title, three of them.
        regions: of some of these the log-density less its threshold, [G, G], on a grid of the
            square that is drawn, theta_1 along the rows; and the name of the region.
        corner: lowest parameters of the square.
        width: of the square.
        curves: levels and coverage by name of the curve, by title of the picture, two of them.
        ranks: of the true theta_1 among samples, from 0 to ``count``, [N], by name.
        count: number of samples that the ranks were counted among.

    >>> x = {name: torch.rand(50, 2) for name in "abc"}
    >>> line = torch.linspace(0, 1, 5)
    >>> curves = {"coverage": {"flow": (line, line)}, "TARP": {"flow": (line, line)}}
    >>> regions = {"b": (torch.rand(9, 9) - 0.5, "90 %")}
    >>> ranks = {"flow": torch.arange(100)}
    >>> len(posteriors(x, regions, (0.0, 0.0), 1.0, curves, ranks, 99).axes)
    6
    """
    with style.figure(15.5, 9.6) as figure:
        grid = figure.subplots(2, 3)
        edges = (corner[0], corner[0] + width, corner[1], corner[1] + width)
        for axes, (title, points) in zip(grid[0], samples.items(), strict=True):
            _draw_samples(axes, points, regions.get(title), edges)
            axes.set_title(title)
        simulations = len(next(iter(ranks.values())))
        for axes, (title, lines) in zip(grid[1, :2], curves.items(), strict=True):
            _draw_coverage(axes, lines, simulations)
            axes.set_title(title)
        _draw_ranks(grid[1, 2], ranks, count)
    return figure


def _draw_samples(
    axes: Any,
    points: Tensor,
    region: tuple[Tensor, str] | None,
    edges: Sequence[float],
) -> None:
    x, y = points.detach().cpu().T
    axes.scatter(x, y, s=2.5, color=style.BLUE, alpha=0.35, linewidths=0, rasterized=True)
    if region is not None:
        inside, name = region
        side = torch.linspace(edges[0], edges[1], len(inside))
        other = torch.linspace(edges[2], edges[3], len(inside))
        axes.contour(side, other, inside.T.cpu(), levels=[0.0], colors=[style.VERMILION])
        axes.plot([], [], color=style.VERMILION, label=name)
        axes.legend(loc="lower right")
    axes.set(xlim=edges[:2], ylim=edges[2:], xlabel=r"$\theta_1$", ylabel=r"$\theta_2$")
    axes.set_aspect("equal")


def _draw_coverage(axes: Any, lines: Mapping[str, Curve], simulations: int) -> None:
    """Coverage against level, with the band in which 95 % of exact posteriors are."""
    half, level = _KOLMOGOROV / math.sqrt(simulations), torch.linspace(0, 1, 101)
    low, high = (level - half).clamp(min=0), (level + half).clamp(max=1)
    axes.fill_between(level, low, high, color=style.GREY, alpha=0.2, linewidth=0, label=_BAND)
    for color, (name, (levels, coverage)) in zip(style.CYCLE, lines.items(), strict=False):
        axes.plot(levels.cpu(), coverage.cpu(), color=color, label=name)
    axes.set(xlabel="credible level", ylabel="share of true parameters", xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
    axes.legend(loc="upper left", frameon=True, framealpha=0.8, edgecolor="none")


def _draw_ranks(axes: Any, ranks: Mapping[str, Tensor], count: int) -> None:
    """Histogram of the ranks, as shares of their number: flat within the band if calibrated."""
    simulations = len(next(iter(ranks.values())))
    half = _NORMAL * math.sqrt((_BINS - 1) / simulations)
    axes.axhspan(
        1 - half, 1 + half, color=style.GREY, alpha=0.2, linewidth=0, label=f"{_BAND}, each bin"
    )
    edges = torch.linspace(0, 1, _BINS + 1)
    for color, (name, values) in zip(style.CYCLE, ranks.items(), strict=False):
        place = ((values.cpu() + 0.5) / (count + 1) * _BINS).long()
        height = place.bincount(minlength=_BINS) * _BINS / simulations
        axes.stairs(height, edges, color=color, linewidth=2, label=name)
    axes.set(xlabel=r"rank of the true $\theta_1$ / number of samples", ylabel="density")
    axes.set(xlim=(0, 1), ylim=(0, 1.35 * axes.get_ylim()[1]), title="Ranks (SBC)")
    axes.legend(loc="upper center")
