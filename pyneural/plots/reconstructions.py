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

    Returns:
        a matplotlib figure; write it with ``plots.save``.

    Raises:
        ImportError: matplotlib is missing.

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
            values = images.detach().cpu().numpy()
            same = images.shape[1:] == size
            colors = {"cmap": "gray_r", "vmin": 0, "vmax": 1} if same else {"cmap": "viridis"}
            bounds = {} if same else {"vmin": values.min(), "vmax": values.max()}
            for axes, image in zip(line, values, strict=True):
                axes.imshow(image, **colors, **bounds)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=10)
        if right is not None:
            panels = right.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
            for axes, (name, training, validation) in zip(panels, curves, strict=True):
                _curve(axes, name, training, validation)
            panels[0].legend(loc="upper right")
            panels[-1].set_xlabel("epoch")
    return figure


def _curve(axes: Any, name: str, training: Sequence[float], validation: Sequence[float]) -> None:
    epochs = range(1, len(training) + 1)
    axes.plot(epochs, training, color=style.BLUE, label="training")
    axes.plot(epochs, validation, color=style.VERMILION, linestyle=(0, (4, 2)), label="validation")
    axes.set_title(f"loss of {name}", fontsize=12)
    axes.set_ylim(0, None)
