"""Images with the classes that a network gives them, beside the loss of its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style

_COLUMNS = 8


def classified_images(
    images: Tensor, predicted: Sequence[int], truth: Sequence[int], training: Sequence[float],
    validation: Sequence[float], title: str,
) -> Any:  # fmt: skip
    """The loss curve, and images with their predicted classes: wrong ones in red.

    Args:
        images: [N, H, W], values in [0, 1].
        predicted: the class that the network gives each, [N].
        truth: the right one, [N].
        training: loss after each epoch.
        validation: the same on other data.
        title: over the images.

    >>> import torch
    >>> figure = classified_images(torch.rand(9, 8, 8), [1] * 9, [1] * 9, [2, 1], [2, 1], "Nine")
    >>> len(figure.axes)
    10
    """
    rows = -(-len(images) // _COLUMNS)
    with style.figure(14, 1.75 * max(rows, 2) + 0.6) as figure:
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1.55))
        axes = left.subplots()
        style.draw_losses(axes, training, validation)
        axes.set(xlabel="epoch", ylabel="loss", yscale="log", title="Always plot the loss function")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
        right.suptitle(title, x=0.02, ha="left", fontsize=13)
        grid = right.add_gridspec(rows, _COLUMNS)
        for place, image in enumerate(images):
            panel = right.add_subplot(grid[divmod(place, _COLUMNS)])
            style.draw_image(panel, image, cmap="gray_r", vmin=0, vmax=1)
            good = predicted[place] == truth[place]
            text = f"{predicted[place]}" if good else f"{predicted[place]} ({truth[place]})"
            panel.set_xlabel(text, color=style.BLACK if good else style.VERMILION)
    return figure
