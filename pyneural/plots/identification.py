"""Constants of an equation found from noisy measurements: the data, and the errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.plots import style


class Identified(NamedTuple):
    """Constants of one equation.

    Attributes:
        title: the equation.
        t, x, u: grid of its solution: [T], [X], [T, X].
        points: where it was measured, [N, 2] in the order (t, x).
        noises: of the measurements, in parts of the solution's deviation, [K].
        errors: relative errors of both constants, [K, seeds, 2].
        bounds: medians of the errors that efficient estimates have, [K, 2]; 0 where none is known.
        published: relative errors of others [K, 2] by their names; NaN where none are known.
    """

    title: str
    t: Tensor
    x: Tensor
    u: Tensor
    points: Tensor
    noises: Sequence[float]
    errors: Tensor
    bounds: Tensor
    published: Mapping[str, Tensor]


def identification(rows: Sequence[Identified], title: str = "") -> Any:
    """A row an equation: its solution with the measured points, and the errors of both constants.

    Each dot is a seed, the bar their median, the dashed bar the median that the bound of Cramer and
    Rao allows.

    >>> t, x = torch.linspace(0, 1, 5), torch.linspace(-1, 1, 9)
    >>> row = Identified(
    ...     "heat", t, x, torch.outer(1 - t, x), torch.rand(7, 2), [0, 0.1], torch.rand(2, 3, 2),
    ...     torch.tensor([[0.0, 0.0], [0.1, 0.2]]), {},
    ... )
    >>> len(identification([row]).axes)
    4
    """
    with style.figure(15, 4.1 * len(rows) + 0.6) as figure:
        if title:
            figure.suptitle(title, fontsize=16, x=0.012, ha="left")
        bands = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for band, row in zip(bands, rows, strict=True):
            field, *constants = band.subplots(1, 3, width_ratios=(1.5, 1, 1))
            _field(band, field, row)
            for index, axes in enumerate(constants):
                _errors(axes, row, index)
        most = max(range(len(rows)), key=lambda number: len(rows[number].published))
        handles, labels = bands[most].axes[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right", ncols=len(labels), borderaxespad=0.2)
    return figure


def _field(figure: Any, axes: Any, row: Identified) -> None:
    bound = float(row.u.abs().max())
    mesh = axes.pcolormesh(
        row.t.numpy(), row.x.numpy(), row.u.T.numpy(), cmap=style.SIGNED, vmin=-bound, vmax=bound,
        shading="gouraud", rasterized=True,
    )  # fmt: skip
    figure.colorbar(mesh, ax=axes, label="$u(t, x)$", pad=0.02, aspect=22)
    time, place = row.points.T
    axes.plot(
        time, place, ".", color=style.BLACK, markersize=3, alpha=0.6, markeredgewidth=0,
        rasterized=True,
    )  # fmt: skip
    axes.set(xlabel="$t$", ylabel="$x$", title=f"{row.title}, {len(row.points):,} measurements")


def _errors(axes: Any, row: Identified, index: int) -> None:
    percent = 100 * row.errors[..., index]  # [K, seeds]
    places = torch.arange(len(row.noises), dtype=torch.float64)
    seeds = percent.shape[1]
    spread = 0.12 * (2 * torch.arange(seeds, dtype=torch.float64) / max(seeds - 1, 1) - 1)
    spread = spread if seeds > 1 else spread.zero_()
    for place, values in zip(places.tolist(), percent, strict=True):
        axes.plot(place + spread, values, "o", color=style.BLUE, markersize=5, alpha=0.6)
        middle = float(values.quantile(0.5))
        axes.plot([place - 0.22, place + 0.22], [middle, middle], color=style.BLUE, linewidth=2.5)
    bounds = 100 * row.bounds[:, index]
    for place, bound in zip(places[bounds > 0].tolist(), bounds[bounds > 0].tolist(), strict=True):
        axes.plot([place - 0.35, place + 0.35], [bound, bound], "--", color=style.BLACK)
    for (name, values), color in zip(row.published.items(), style.CYCLE[1:], strict=False):
        axes.plot(places, 100 * values[:, index], "D", color=color, markersize=7, label=name)
    axes.plot([], [], "o-", color=style.BLUE, label="this run: seeds and median")
    if bool((bounds > 0).any()):
        axes.plot([], [], "--", color=style.BLACK, label="Cramer-Rao bound, median")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    others = (values.flatten() for values in row.published.values())
    shown = torch.cat([row.errors.flatten(), row.bounds.flatten(), *others])
    shown = 100 * shown[shown > 0]
    axes.set_ylim(0.5 * float(shown.min()), 2 * float(shown.max()))
    axes.minorticks_off()
    axes.set_xticks(places, [f"{100 * noise:g} %" for noise in row.noises])
    axes.set(xlabel="noise", ylabel="error in %", title=rf"$\lambda_{index + 1}$")
    axes.set_xlim(-0.5, len(row.noises) - 0.5)
    axes.grid(axis="y", alpha=0.3)
