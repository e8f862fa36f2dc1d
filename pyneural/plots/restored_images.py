"""Degraded images beside what was made of them, and the truth, with magnified parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style

_SIDE = 3.3  # inches of a panel
_INSET = 0.44  # share of a panel's edge that the magnified part takes
Box = tuple[int, int, int]  # top row, left column and edge of a square of pixels


def restored_images(
    rows: Mapping[str, Sequence[tuple[str, str, Tensor]]], box: Box | None = None
) -> Any:
    """A row for each task: an image degraded, restored in several ways, and as it is.

    Args:
        rows: by title; of each panel its name, a line on it and the image, [H, W] or [3, H, W] with
            values from 0 to 1. The last one of a row is the truth; images that have fewer pixels
            are drawn as large, with the pixels as squares.
        box: a square in pixels of the truth that is drawn magnified in a corner of each panel.

    >>> import torch
    >>> x = torch.rand(3, 16, 16)
    >>> panels = [("degraded", "20 dB", x[:, ::2, ::2]), ("truth", "", x)]
    >>> len(restored_images({"super-resolution": panels}, (2, 2, 6)).axes)
    2
    """
    columns = max(map(len, rows.values()))
    with style.figure(_SIDE * columns + 0.5, (_SIDE + 0.62) * len(rows)) as figure:
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for line, (title, panels) in zip(grid, rows.items(), strict=True):
            line[0].set_ylabel(title, fontsize=16, labelpad=10)
            size = panels[-1][2].shape[-1]
            for axes, (name, note, image) in zip(line, panels, strict=False):
                _draw(axes, image)
                axes.set_title(name)
                axes.set_xlabel(note, fontsize=12.5)
                if box is not None:
                    _magnify(axes, image, box, size / image.shape[-1])
            for axes in line[len(panels) :]:
                axes.set_visible(False)
    return figure


def _draw(axes: Any, image: Tensor) -> None:
    shown = image.detach().cpu().float().clamp(0, 1)
    if shown.dim() == 3:
        style.draw_image(axes, shown.movedim(0, 2), interpolation="nearest")
    else:
        style.draw_image(axes, shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _magnify(axes: Any, image: Tensor, box: Box, factor: float) -> None:
    """Draws the box, whose pixels are those of the truth, and its content in a corner beside it."""
    row, column, edge = (value / factor for value in box)
    top, left, bottom, right = row - 0.5, column - 0.5, row + edge - 0.5, column + edge - 0.5
    height, width = image.shape[-2:]
    upper, left_half = row + edge / 2 < height / 2, column + edge / 2 < width / 2
    inset = axes.inset_axes(((1 - _INSET) * left_half, (1 - _INSET) * upper, _INSET, _INSET))
    _draw(inset, image)
    inset.set(xlim=(left, right), ylim=(bottom, top))
    for spine in inset.spines.values():
        spine.set(visible=True, color=style.YELLOW, linewidth=1.6)
    square = style.check_installed().patches.Rectangle(
        (left, top), edge, edge, fill=False, edgecolor=style.YELLOW, linewidth=1.3
    )
    axes.add_patch(square)
