"""What a diffusion model makes of images: noise and back, samples, their distance to the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from pyneural.plots import style
from pyneural.plots.latent_variables import mosaic


class Panel(NamedTuple):
    """Images [R, C, H, W] with a title, and names of the columns or of the rows."""

    title: str
    images: Tensor
    columns: Sequence[str] = ()
    rows: Sequence[str] = ()


def image_diffusion(
    ways: Sequence[Panel],
    grids: Sequence[Panel],
    distances: Mapping[int, float],
    floor: tuple[float, float],
    *,
    high: float = 1.0,
) -> Any:
    """Images turning into noise and back, samples beside the data, and how far they are from it.

    Args:
        ways: drawn side by side above, two of them.
        grids: below: two large ones, and a flat one above the distances.
        distances: Frechet distance by number of steps of the sampler.
        floor: that of two halves of the data, and its standard deviation.
        high: value that is drawn black; 0 is white.

    >>> import torch
    >>> grid = Panel("data", torch.rand(3, 4, 8, 8), "abcd")
    >>> figure = image_diffusion([grid] * 2, [grid] * 3, {10: 3.0, 50: 2.0}, (1.5, 0.3))
    >>> len(figure.axes)
    6
    """
    with style.figure(16, 9.1) as figure:
        upper, lower = figure.subfigures(2, 1, height_ratios=(0.39, 0.61))
        for axes, panel in zip(upper.subplots(1, 2), ways, strict=True):
            _draw(axes, panel, high)
        places = lower.subplot_mosaic([["0", "1", "2"], ["0", "1", "distance"]])
        for name, panel in zip("012", grids, strict=True):
            _draw(places[name], panel, high)
        _draw_distances(places["distance"], distances, floor)
    return figure


def image_samples(panels: Sequence[Panel], *, high: float = 1.0) -> Any:
    """Grids of images side by side.

    Args:
        panels: of the same number of rows and columns.
        high: value that is drawn black; 0 is white.

    >>> import torch
    >>> len(image_samples([Panel("data", torch.rand(3, 3, 8, 8))] * 3).axes)
    3
    """
    rows, columns = panels[0].images.shape[:2]
    with style.figure(5.2 * len(panels), 5.2 * rows / columns + 0.5) as figure:
        for axes, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
            _draw(axes, panel, high)
    return figure


def _draw(axes: Any, panel: Panel, high: float) -> None:
    """The images as one, with the names at the middle of their columns and rows."""
    picture = mosaic(panel.images.detach().cpu().float(), gap=0.12 * high)
    style.draw_image(axes, picture, cmap="gray_r", vmin=0, vmax=high)
    axes.set_title(panel.title)
    height, width = (size + 1 for size in panel.images.shape[2:])
    if panel.columns:
        places = [width * i + (width - 2) / 2 for i in range(len(panel.columns))]
        axes.set_xticks(places, panel.columns)
    if panel.rows:
        places = [height * i + (height - 2) / 2 for i in range(len(panel.rows))]
        axes.set_yticks(places, panel.rows)
    axes.tick_params(length=0)


def _draw_distances(axes: Any, distances: Mapping[int, float], floor: tuple[float, float]) -> None:
    """Distances over the number of steps, and the band of two halves of the data."""
    mean, std = floor
    axes.axhspan(mean - std, mean + std, color=style.GREY, alpha=0.25, linewidth=0)
    axes.axhline(mean, color=style.GREY, linewidth=1.2, label="two halves of the data")
    axes.plot(list(distances), list(distances.values()), "o-", color=style.BLUE, label="samples")
    axes.set_xscale("log")
    axes.set_xticks(list(distances), [str(steps) for steps in distances])
    axes.minorticks_off()
    top = max(*distances.values(), mean + std)
    axes.set(xlabel="steps", ylabel="Frechet distance", ylim=(0, 1.5 * top))  # the names above
    axes.legend(loc="upper right")
