"""Images, their latent representations, and their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style

Curves = tuple[str, Sequence[float], Sequence[float]]


def reconstructions(rows: Sequence[tuple[str, Tensor]], curves: Sequence[Curves] = ()) -> Any:
    """One row for the original images, and one for each representation or reconstruction.

    Args:
        rows: name and images [N, H, W] of each row. Images of the first row's size have values in
            [0, 1]; others are drawn as maps of arbitrary values.
        curves: name, training and validation loss per epoch; drawn on the right.

    >>> import torch
    >>> x = torch.rand(4, 8, 8)
    >>> figure = reconstructions([("original", x), ("predicted", x)], [("mse", [2, 1], [2, 1])])
    >>> len(figure.axes)
    9
    """
    count, size = len(rows[0][1]), rows[0][1].shape[1:]
    with style.look():
        beside = 4.4 if curves else 0
        figure = style.new_figure(1.6 + count + beside, 1.15 * len(rows) + 0.2)
        left, right = figure, None
        if curves:
            left, right = figure.subfigures(1, 2, width_ratios=(1.6 + count, beside))
        for (name, images), line in zip(
            rows, left.subplots(len(rows), count, squeeze=False), strict=True
        ):
            colors, bounds = "gray_r", (0.0, 1.0)
            if images.shape[1:] != size:
                colors, bounds = "viridis", (float(images.min()), float(images.max()))
            for axes, image in zip(line, images, strict=True):
                style.draw_image(axes, image, cmap=colors, vmin=bounds[0], vmax=bounds[1])
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=10)
        if right is not None:
            panels = right.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
            for axes, (name, training, validation) in zip(panels, curves, strict=True):
                style.draw_losses(axes, training, validation)
                axes.set_title(f"loss of {name}", fontsize=12)
                axes.set_ylim(0, None)
            panels[0].legend(loc="upper right")
            panels[-1].set_xlabel("epoch")
    return figure
