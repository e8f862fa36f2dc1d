"""What a diffusion or a flow matching has learnt of a density in the plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from pyneural.plots import style
from pyneural.plots.flows import DENSITY, directions

_MARGIN = 0.3  # share of the window by which that of the paths is wider on each side


class PlaneSamples(NamedTuple):
    """Data in the plane, and the model that makes samples of noise.

    The grids go from the bottom row, left to right, to the top.
    """

    window: tuple[float, float, float, float]  # left, right, bottom, top
    data: Tensor  # [N, 2]
    samples: Tensor  # of the model, [N, 2]
    exact: Tensor  # density on the grid, [H, W]
    found: Tensor  # that of the model
    paths: Tensor  # from noise to samples, [K, M, 2]


def plane_samples(panels: Mapping[str, PlaneSamples]) -> Any:
    """A row for each density: data, samples, the densities of both, and the ways from noise.

    Args:
        panels: by title.

    >>> import torch
    >>> ones, x = torch.ones(5, 5), torch.randn(20, 2)
    >>> panel = PlaneSamples((-1, 1, -1, 1), x, x, ones, ones, torch.randn(9, 4, 2))
    >>> len(plane_samples({"uniform": panel}).axes)
    5
    """
    titles = (
        "Data", "Samples", "Exact density", "Density of the model", "From noise to samples",
    )  # fmt: skip
    with style.figure(17.5, 3.7 * len(panels) + 0.25) as figure:
        grid = figure.subplots(len(panels), 5, squeeze=False)
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title)
        for row, (title, panel) in zip(grid, panels.items(), strict=True):
            row[0].set_ylabel(title)
            of_data, of_samples, exact, found, of_paths = row
            for axes, points, color in (
                (of_data, panel.data, style.BLUE), (of_samples, panel.samples, style.VERMILION),
            ):  # fmt: skip
                x, y = points.detach().cpu().T
                axes.scatter(x, y, s=1.6, color=color, alpha=0.5, linewidths=0, rasterized=True)
                axes.set(xlim=panel.window[:2], ylim=panel.window[2:])
            high = 1.1 * float(panel.exact.max())
            for axes, density in ((exact, panel.exact), (found, panel.found)):
                axes.imshow(
                    density.detach().cpu().numpy(), cmap=DENSITY, vmin=0, vmax=high,
                    extent=panel.window, origin="lower", interpolation="bilinear",
                )  # fmt: skip
            _draw_paths(of_paths, panel)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[], aspect="equal")
            axes.spines[:].set_visible(False)
    return figure


def _draw_paths(axes: Any, panel: PlaneSamples) -> None:
    """Ways, coloured by the direction that they begin in, and their ends."""
    paths = panel.paths.detach().cpu()
    start, end = paths[0], paths[-1]
    colors = directions((start - start.mean(0)) / start.std(0))
    for path, color in zip(paths.unbind(1), colors, strict=True):
        axes.plot(path[:, 0], path[:, 1], color=color, linewidth=0.7, alpha=0.8)
    axes.scatter(
        start[:, 0], start[:, 1], s=7, color="white", edgecolors=style.GREY, linewidths=0.5
    )
    axes.scatter(end[:, 0], end[:, 1], s=9, color=style.BLACK, linewidths=0, zorder=3)
    left, right, bottom, top = panel.window
    wide, tall = _MARGIN * (right - left), _MARGIN * (top - bottom)
    axes.set(xlim=(left - wide, right + wide), ylim=(bottom - tall, top + tall))
