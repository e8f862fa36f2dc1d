"""A solution u(t, x) of a differential equation: the field, and slices at fixed times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.plots import style


def space_time(
    t: Tensor,
    x: Tensor,
    u: Tensor,
    exact: Tensor,
    *,
    slices: Sequence[float],
    points: Tensor | None = None,
    collocation: Tensor | None = None,
    errors: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    title: str = "",
) -> Any:
    """Field u(t, x) with the training points, its error, and slices beside the exact solution.

    Args:
        t: times of the grid, [T].
        x: positions of the grid, [X].
        u: the network's solution on the grid, [T, X].
        exact: exact solution, [T, X].
        slices: times of the slices; the nearest grid times are drawn.
        points: training points with data, [N, 2] in the order (t, x).
        collocation: collocation points, [M, 2].
        errors: seconds of training and relative errors then, by the name of the method; drawn
            beside the slices.
        title: title of the figure.

    >>> t, x = torch.linspace(0, 1, 5), torch.linspace(-1, 1, 9)
    >>> u = torch.outer(1 - t, torch.sin(3 * x))
    >>> figure = space_time(t, x, u, u + 1e-3, slices=[0.25, 0.75])
    >>> len(figure.axes)
    6
    """
    t, x, u, exact = (value.detach().double().cpu() for value in (t, x, u, exact))
    with style.figure(14, 8.2) as figure:
        top, bottom = figure.subfigures(2, 1, height_ratios=(1.12, 1))
        field, beside = top.subplots(1, 2, width_ratios=(2.1, 1))
        if title:
            figure.suptitle(title, fontsize=16, x=0.012, ha="left")
        _field(top, field, t, x, u, slices)
        if collocation is not None:
            _collocation(field, collocation)
        if points is not None:
            _points(field, points)
        if points is not None or collocation is not None:
            legend = field.legend(
                loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2,
                handletextpad=0.3, columnspacing=1.5,
            )  # fmt: skip
            for handle in legend.legend_handles:
                handle.set(alpha=1, markersize=6)
        _error(top, beside, t, x, (u - exact).abs())
        widths = [1.0] * len(slices) + ([] if errors is None else [1.45])
        panels = bottom.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
        for panel, time in zip(panels, slices, strict=False):
            _slice(panel, t, x, u, exact, time)
            panel.sharey(panels[0])
            panel.tick_params(labelleft=panel is panels[0])
        if errors is not None:
            _errors(panels[-1], errors)
        panels[0].set_ylabel("$u(t, x)$")
        panels[0].legend(loc="lower left")
    return figure


def _field(
    figure: Any, axes: Any, t: Tensor, x: Tensor, u: Tensor, slices: Sequence[float]
) -> None:
    bound = float(u.abs().max())
    mesh = axes.pcolormesh(
        t.numpy(), x.numpy(), u.T.numpy(), cmap=style.SIGNED, vmin=-bound, vmax=bound,
        shading="gouraud", rasterized=True,
    )  # fmt: skip
    figure.colorbar(mesh, ax=axes, label="$u(t, x)$", pad=0.02, aspect=22)
    for time in slices:
        axes.axvline(time, color=style.BLACK, linewidth=1.1, linestyle=(0, (5, 4)))
    axes.set(xlabel="$t$", ylabel="$x$", xlim=_limits(t), ylim=_limits(x))
    axes.locator_params(axis="y", nbins=5)


def _points(axes: Any, points: Tensor) -> None:
    time, place = points.detach().double().cpu().T
    axes.plot(
        time.numpy(), place.numpy(), "x", color=style.BLACK, markersize=6, markeredgewidth=1.3,
        clip_on=False, zorder=5, label=f"{len(points)} initial and boundary points",
    )  # fmt: skip


def _collocation(axes: Any, points: Tensor) -> None:
    time, place = points.detach().double().cpu().T
    axes.plot(
        time.numpy(), place.numpy(), ".", color=style.BLACK, markersize=1.6, alpha=0.35,
        markeredgewidth=0, zorder=4, rasterized=True, label=f"{len(points):,} collocation points",
    )  # fmt: skip


def _error(figure: Any, axes: Any, t: Tensor, x: Tensor, error: Tensor) -> None:
    from matplotlib.colors import LogNorm

    # Down to four decades below the largest error.
    largest = max(float(error.max()), 1e-16)  # rounding, if it is zero
    bounds = LogNorm(largest / 1e4, largest)
    mesh = axes.pcolormesh(
        t.numpy(), x.numpy(), error.clamp_min(largest / 1e4).T.numpy(), cmap="cividis", norm=bounds,
        shading="gouraud", rasterized=True,
    )  # fmt: skip
    figure.colorbar(mesh, ax=axes, pad=0.03, aspect=22)
    axes.set(xlabel="$t$", ylabel="$x$", xlim=_limits(t), ylim=_limits(x), title="absolute error")
    axes.locator_params(axis="both", nbins=5)


def _errors(axes: Any, errors: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    for (name, (seconds, values)), color in zip(errors.items(), style.CYCLE, strict=False):
        axes.loglog(seconds, values, "o-", color=color, markersize=4, label=name)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="seconds of training", title="relative $L_2$ error")
    axes.grid(True, which="major", color="#E4E4E4", linewidth=0.8, zorder=0)
    low, high = axes.get_ylim()
    axes.set_ylim(low * (low / high) ** 0.3, high)  # the legend stands below the curves
    axes.legend(loc="lower left")


def _slice(axes: Any, t: Tensor, x: Tensor, u: Tensor, exact: Tensor, time: float) -> None:
    row = int(torch.argmin((t - time).abs()))
    axes.plot(x, exact[row], color=style.BLUE, linewidth=3, label="exact")
    axes.plot(x, u[row], color=style.VERMILION, linestyle=(0, (4, 2.5)), label="network")
    axes.set(xlabel="$x$", xlim=_limits(x), title=f"$t = {float(t[row]):.2f}$")
    axes.locator_params(nbins=5)
    axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=0)


def _limits(values: Tensor) -> tuple[float, float]:
    return float(values.min()), float(values.max())
