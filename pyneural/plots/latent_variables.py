"""What a latent-variable model makes of images: samples, its latent plane, its bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.plots import style

_GAP = 1  # pixels between two images


def mosaic(images: Tensor, gap: float = 0.0) -> Tensor:
    """Images [R, C, H, W] side by side as one, in R rows, with lines of the value ``gap`` between.

    >>> mosaic(torch.ones(2, 3, 4, 4)).shape
    torch.Size([9, 14])
    """
    padded = torch.nn.functional.pad(images, (0, _GAP, 0, _GAP), value=gap)  # [R, C, H + 1, W + 1]
    return padded.transpose(1, 2).flatten(2).flatten(0, 1)[:-_GAP, :-_GAP]


def latent_variables(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    panels: Mapping[str, Tensor],
    plane: Tensor,
    classes: Tensor,
    *,
    high: float = 1.0,
) -> Any:
    """Bounds during the training, pictures of a model, and its latent plane coloured by class.

    Args:
        curves: ELBO of each epoch, in training and on new samples, by the name of the model.
        panels: images [R, C, H, W] of each picture by its title, four of them.
        plane: latent variables of samples, [N, 2].
        classes: whole number of each, [N], from 0 to 9.
        high: value that is drawn black; 0 is white.

    >>> pictures = {name: torch.rand(3, 3, 8, 8) for name in "abcd"}
    >>> curves = {"2 variables": ([-3, -2], [-3, -2.5])}
    >>> figure = latent_variables(curves, pictures, torch.randn(20, 2), torch.arange(20) % 10)
    >>> len(figure.axes)
    6
    """
    with style.figure(15.5, 9.2) as figure:
        grid = figure.subplots(2, 3, width_ratios=(1.08, 1, 1))
        _draw_bounds(grid[0, 0], curves)
        _draw_classes(grid[1, 0], plane, classes)
        for axes, (title, images) in zip(grid[:, 1:].flat, panels.items(), strict=True):
            picture = mosaic(images.detach().cpu().float(), gap=0.12 * high)
            style.draw_image(axes, picture, cmap="gray_r", vmin=0, vmax=high)
            axes.set_title(title)
    return figure


def _draw_bounds(axes: Any, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    lowest = []
    for (name, (training, new)), color in zip(curves.items(), style.CYCLE, strict=False):
        epochs = range(1, len(new) + 1)
        axes.plot(epochs, training, color=color, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.plot(epochs, new, color=color, label=name)
        lowest.append(sorted(new)[len(new) // 10])
    axes.plot([], [], color=style.GREY, linewidth=1.2, linestyle=(0, (4, 2)), label="in training")
    top = max(max(training) for training, _ in curves.values())
    axes.set_ylim(min(lowest) - 0.1 * (top - min(lowest)), top + 0.05 * (top - min(lowest)))
    axes.set(xlabel="epoch", ylabel="ELBO (nats an image)", title="Bound on new images")
    axes.legend(loc="lower right")


def _draw_classes(axes: Any, plane: Tensor, classes: Tensor) -> None:
    colors = style.check_installed().colormaps["tab10"]
    z, found = plane.detach().cpu(), classes.cpu()
    for number in range(10):
        of_class = z[found == number]
        if not len(of_class):
            continue
        axes.scatter(of_class[:, 0], of_class[:, 1], s=13, color=colors(number), linewidths=0)
        axes.annotate(
            str(number), of_class.median(0).values.tolist(), ha="center", va="center",
            fontsize=15, fontweight="bold", color=style.BLACK,
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "alpha": 0.75, "lw": 0},
        )  # fmt: skip
    axes.set(xlabel="$z_1$", ylabel="$z_2$", title="Means of $q(z|x)$ by class")
    axes.set_aspect("equal", "datalim")
