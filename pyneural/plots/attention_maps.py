"""Attention maps: one row for each mask, one column for each head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pyneural.plots import style


def attention_maps(maps: Mapping[str, Tensor]) -> Any:
    """Attention weights, query against key, for each mask and head.

    Args:
        maps: weights [heads, L, S] by the name of the mask.

    >>> import torch
    >>> figure = attention_maps({"none": torch.rand(3, 5, 5), "causal": torch.rand(3, 5, 5).tril()})
    >>> len(figure.axes)
    7
    """
    heads = len(next(iter(maps.values())))
    with style.look():
        figure = style.new_figure(2.6 * heads + 2, 2.5 * len(maps) + 0.5)
        panels = figure.subplots(len(maps), heads, squeeze=False)
        for row, (name, weights) in zip(panels, maps.items(), strict=True):
            for head, axes in enumerate(row):
                image = style.draw_image(axes, weights[head], cmap="Blues", vmin=0, vmax=1)
            row[0].set_ylabel(name)
        for head, axes in enumerate(panels[0]):
            axes.set_title(f"head {head + 1}")
        for axes in panels[-1]:
            axes.set_xlabel("key")
        figure.colorbar(image, ax=panels, label="weight", shrink=0.6, aspect=30)
    return figure
