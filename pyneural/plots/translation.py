"""Where a transformer looks while it translates, and what it loses without its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style


def translation(
    source: Sequence[str], target: Sequence[str], maps: Tensor, scores: Mapping[str, float]
) -> Any:
    """Attention of each head from a translation to its text, and the scores of networks.

    Args:
        source: symbols of the text, S.
        target: symbols of the translation, T.
        maps: weights [heads, T, S].
        scores: share of right answers by the name of the network.

    Returns:
        a matplotlib figure; write it with ``plots.save``.

    Raises:
        ImportError: matplotlib is missing.

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
        for number, axes in enumerate(panels):
            if number >= heads:
                axes.axis("off")
                continue
            axes.imshow(maps[number].numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes.set_xticks(range(len(source)), source, fontsize=9)
            axes.set_yticks(range(len(target)), target, fontsize=9)
            axes.tick_params(length=0)
            axes.set_title(f"head {number + 1}: where each symbol looks", fontsize=12)
        axes = below.subplots()
        names = list(scores)
        colours = [style.BLUE, *[style.GREY] * (len(names) - 1)]
        bars = axes.barh(names, [100 * scores[name] for name in names], color=colours)
        axes.bar_label(bars, [f"{100 * scores[name]:.1f} %" for name in names], padding=4)
        axes.set(xlim=(0, 112), xlabel="right answers, %")
        axes.invert_yaxis()
        axes.set_title("Saying letters backwards, with and without the parts of a transformer")
    return figure
