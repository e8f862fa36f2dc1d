"""Attention maps, alone and in a translation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    with style.figure(2.6 * heads + 2, 2.5 * len(maps) + 0.5) as figure:
        panels = figure.subplots(len(maps), heads, squeeze=False)
        for row, (name, weights) in zip(panels, maps.items(), strict=True):
            for head, axes in enumerate(row):
                image = style.draw_image(axes, weights[head], cmap="Blues", vmin=0, vmax=1)
            row[0].set_ylabel(f"{name}\nquery")
        for head, axes in enumerate(panels[0]):
            axes.set_title(f"head {head + 1}")
        for axes in panels[-1]:
            axes.set_xlabel("key")
        figure.colorbar(image, ax=panels, label="weight", shrink=0.6, aspect=30)
    return figure


def translation(
    source: Sequence[str], target: Sequence[str], maps: Tensor, scores: Mapping[str, float]
) -> Any:
    """Cross-attention of each head, and the accuracy of several variants.

    Args:
        source: the S tokens of the text.
        target: the T tokens of the translation.
        maps: cross-attention weights [heads, T, S].
        scores: fraction of correct answers by the name of the variant.

    >>> import torch
    >>> figure = translation("ab", "xyz", torch.rand(2, 3, 2), {"whole": 1.0, "blind": 0.1})
    >>> len(figure.axes)
    3
    """
    heads = len(maps)
    with style.figure(13, 7.6) as figure:
        above, below = figure.subfigures(2, 1, height_ratios=[1.8, 1])
        columns = (heads + 1) // 2
        panels = above.subplots(2, columns, squeeze=False).flatten()
        for head, axes in enumerate(panels):
            if head >= heads:
                axes.axis("off")
                continue
            axes.imshow(maps[head].numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes.set_xticks(range(len(source)), source, fontsize=9)
            axes.set_yticks(range(len(target)), target, fontsize=9)
            axes.tick_params(length=0)
            axes.set_title(f"head {head + 1}: cross-attention", fontsize=12)
        axes = below.subplots()
        colors = [style.BLUE, *[style.GREY] * (len(scores) - 1)]
        bars = axes.barh(list(scores), [100 * score for score in scores.values()], color=colors)
        axes.bar_label(bars, fmt="%.1f %%", padding=4)
        axes.set(xlim=(0, 112), xlabel="correct answers, %")
        axes.invert_yaxis()
        axes.set_title("Reversing letters, with and without the parts of a transformer")
    return figure
