"""Diagram of a network: nodes and edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.plots import style


def draw_network(
    axes: Any,
    weights: Sequence[Tensor],
    *,
    biases: Sequence[Tensor] = (),
    masks: Sequence[Tensor | None] = (),
    labels: Sequence[str] = (),
) -> Any:
    """Draws a network with edges coloured by weight and nodes coloured by bias.

    Args:
        axes: matplotlib axes.
        weights: weight [O, I] of each layer.
        biases: bias [O] of each layer; without biases the nodes are white.
        masks: boolean mask [O, I] of each layer, None for all edges; absent edges are dotted.
        labels: text under each column of nodes.

    Returns:
        the colour scale, for a colour bar.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    weights = [weight.detach().cpu() for weight in weights]
    biases = [bias.detach().cpu() for bias in biases]
    bound = max(float(values.abs().max()) for values in (*weights, *biases))
    scale = ScalarMappable(Normalize(-bound, bound), style.SIGNED)
    widths = [weights[0].shape[1], *(len(weight) for weight in weights)]
    columns = [torch.arange(width) - (width - 1) / 2 for width in widths]
    for i, weight in enumerate(weights):
        mask = masks[i] if masks else None
        for o, row in enumerate(weight.tolist()):
            for j, value in enumerate(row):
                ends = (i, i + 1), (-float(columns[i][j]), -float(columns[i + 1][o]))
                if mask is not None and not mask[o, j]:
                    axes.plot(*ends, color="#BBBBBB", linewidth=0.8, linestyle=":", zorder=1)
                    continue
                width = 1.2 + 3.2 * abs(value) / bound
                axes.plot(*ends, color="#999999", linewidth=width + 1.0, zorder=1)
                axes.plot(*ends, color=scale.to_rgba(value), linewidth=width, zorder=2)
    for i, column in enumerate(columns):
        colors: Any = scale.to_rgba(biases[i - 1].numpy()) if i and biases else "white"
        axes.scatter(
            [i] * len(column), -column, s=620, c=colors, edgecolors=style.BLACK, linewidths=1.4,
            zorder=3,
        )  # fmt: skip
    for i, label in enumerate(labels):
        axes.text(i, -max(widths) / 2 - 0.1, label, ha="center", va="top", fontsize=13)
    axes.set(xlim=(-0.35, len(weights) + 0.35), ylim=(-max(widths) / 2 - 0.5, max(widths) / 2))
    axes.axis("off")
    return scale
