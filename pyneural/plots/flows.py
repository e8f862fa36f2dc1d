"""What a normalizing flow has learnt: densities, samples, marginals, images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.plots import style
from pyneural.plots.latent_variables import mosaic

DENSITY = "magma"
_CELLS = 160  # of a histogram, in each direction
_SHOWN = 0.001  # share of the samples that is beyond each edge of a histogram


class PlaneDensity(NamedTuple):
    """A density in the plane and the flow that learnt it.

    The grid goes from the bottom row, left to right, to the top.
    """

    window: tuple[float, float, float, float]  # left, right, bottom, top
    exact: Tensor  # density on the grid, [H, W]
    found: Tensor  # that of the flow
    z: Tensor  # samples of the base distribution, [N, 2]
    x: Tensor  # the samples that the flow makes of them, [N, 2]


def densities(panels: Mapping[str, PlaneDensity]) -> Any:
    """A row for each density: the exact one, that of a flow, and samples before and after it.

    Args:
        panels: by title.

    >>> ones, points = torch.ones(5, 5), torch.randn(20, 2)
    >>> panel = PlaneDensity((-1, 1, -1, 1), ones, ones, points, points)
    >>> len(densities({"uniform": panel}).axes)
    4
    """
    titles = (
        "Exact density",
        "Density of the flow",
        "$z$ from the base",
        "Samples $x = f^{-1}(z)$",
    )
    with style.figure(16, 4.15 * len(panels) + 0.25) as figure:
        grid = figure.subplots(len(panels), 4, squeeze=False)
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title)
        for row, (title, panel) in zip(grid, panels.items(), strict=True):
            row[0].set_ylabel(title)
            high = 1.1 * float(panel.exact.max())
            for axes, density in zip(row[:2], (panel.exact, panel.found), strict=True):
                axes.imshow(
                    density.detach().cpu().numpy(), cmap=DENSITY, vmin=0, vmax=high,
                    extent=panel.window, origin="lower", interpolation="bilinear",
                )  # fmt: skip
            z, x = (points.detach().cpu() for points in (panel.z, panel.x))
            colors = directions(z)
            for axes, points in zip(row[2:], (z, x), strict=True):
                axes.scatter(points[:, 0], points[:, 1], s=2.5, c=colors, linewidths=0)
                axes.set_aspect("equal")
            row[2].set(xlim=(-3.6, 3.6), ylim=(-3.6, 3.6))
            row[3].set(xlim=panel.window[:2], ylim=panel.window[2:])
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    return figure


def directions(z: Tensor) -> Any:
    """A colour for the direction of each point, and lighter ones near the middle."""
    from matplotlib.colors import hsv_to_rgb

    hue = (torch.atan2(z[:, 1], z[:, 0]) / (2 * torch.pi)) % 1
    far = 1 - (-z.square().sum(1) / 2).exp()  # uniform in [0, 1] where z is normal
    return hsv_to_rgb(torch.stack([hue, 0.35 + 0.6 * far, 0.92 - 0.25 * far], 1).numpy())


def pairwise(
    samples: Mapping[str, Tensor], names: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> Any:
    """Histograms of pairs of columns, with a row for each set of samples.

    The frames are those of the first set, and so is the scale of the colours, which is logarithmic.

    Args:
        samples: [N, M] each, by title.
        names: of the columns, M.
        pairs: columns of the horizontal and the vertical axis.

    >>> x = torch.randn(1000, 3)
    >>> len(pairwise({"data": x, "model": x}, ["a", "b", "c"], [(0, 1), (1, 2)]).axes)
    4
    """
    from matplotlib.colors import LogNorm

    first = next(iter(samples.values())).detach().cpu().float()
    low, high = first.quantile(torch.tensor([_SHOWN, 1 - _SHOWN]), 0)
    margin = 0.06 * (high - low)
    low, high = low - margin, high + margin
    edges = [torch.linspace(float(a), float(b), _CELLS + 1) for a, b in zip(low, high, strict=True)]
    with style.figure(4.1 * len(pairs), 4.1 * len(samples)) as figure:
        rows = figure.subfigures(len(samples), 1, squeeze=False)[:, 0]
        scales: list[Any] = [None] * len(pairs)
        for row, (title, x) in zip(rows, samples.items(), strict=True):
            row.suptitle(title, x=0.012, ha="left", fontsize=15)
            for i, (axes, (a, b)) in enumerate(
                zip(row.subplots(1, len(pairs)), pairs, strict=True)
            ):
                columns = x.detach().cpu().float()[:, [a, b]]
                counts, _ = torch.histogramdd(columns, [edges[a], edges[b]])
                share = counts.T / len(columns)
                if scales[i] is None:
                    scales[i] = LogNorm(1 / len(columns), float(share.max()))
                axes.pcolormesh(
                    edges[a].numpy(), edges[b].numpy(), share.numpy(), norm=scales[i],
                    cmap=DENSITY, rasterized=True,
                )  # fmt: skip
                axes.set_facecolor(style.check_installed().colormaps[DENSITY](0.0))
                axes.set(xlabel=names[a], ylabel=names[b])
    return figure


def image_density(
    training: Sequence[float],
    held_out: Sequence[float],
    levels: Mapping[str, float],
    panels: Mapping[str, Tensor],
    *,
    high: float = 1.0,
) -> Any:
    """The loss of a density of images during the training, and pictures of it.

    Args:
        training: loss of each epoch, in bits a dimension.
        held_out: likewise, of new images.
        levels: those of other models, by name, which are drawn as lines.
        panels: images [R, C, H, W] of each picture, by title.
        high: value that is drawn black; 0 is white.

    >>> images = torch.rand(2, 2, 8, 8)
    >>> len(image_density([3.0, 2.0], [3.0, 2.5], {"uniform": 4.0}, {"data": images}).axes)
    2
    """
    with style.figure(4.6 + 4.3 * len(panels), 4.9) as figure:
        axes, *others = figure.subplots(1, 1 + len(panels))
        style.draw_losses(axes, training, held_out)
        for name, value in levels.items():
            axes.axhline(value, color=style.GREY, linewidth=1.2)
            axes.annotate(
                name, (0.98, value), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                fontsize=11, color=style.GREY,
            )  # fmt: skip
        best = min(*training, *held_out)
        top = max([*levels.values(), best])
        axes.set_ylim(best - 0.1 * (top - best), top + 0.12 * (top - best))
        axes.set(xlabel="epoch", title="Bits a dimension")
        axes.legend(loc="upper right", bbox_to_anchor=(1, 0.5))
        for panel, (title, images) in zip(others, panels.items(), strict=True):
            picture = mosaic(images.detach().cpu().float(), gap=0.12 * high)
            style.draw_image(panel, picture, cmap="gray_r", vmin=0, vmax=high)
            panel.set_title(title)
    return figure
