"""Cross-attention of a transformer during translation, and an ablation of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style


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
    with style.look():
        figure = style.new_figure(13, 7.6)
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
        names = list(scores)
        colours = [style.BLUE, *[style.GREY] * (len(names) - 1)]
        bars = axes.barh(names, [100 * scores[name] for name in names], color=colours)
        axes.bar_label(bars, [f"{100 * scores[name]:.1f} %" for name in names], padding=4)
        axes.set(xlim=(0, 112), xlabel="correct answers, %")
        axes.invert_yaxis()
        axes.set_title("Reversing letters, with and without the parts of a transformer")
    return figure
