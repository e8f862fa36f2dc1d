"""A sparsely connected network, its gradient, and its cost relative to a dense one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style
from pyneural.plots.network import draw_network


def sparsity(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    masks: Sequence[Tensor | None],
    gradient: Tensor,
    mask: Tensor,
    sparsities: Sequence[float],
    time: Sequence[float],
    memory: Sequence[float],
    title: str = "",
) -> Any:
    """The network, the gradient of a masked layer, and time and memory relative to a dense layer.

    Args:
        weights: weight [O, I] of each layer of the network.
        biases: bias [O] of each layer.
        masks: boolean mask [O, I] of each layer, None for all edges.
        gradient: gradient of the cost with respect to the weight of a masked layer, [O, I].
        mask: boolean mask of that layer, [O, I].
        sparsities: fractions of absent edges.
        time: time at each sparsity, relative to a dense layer.
        memory: memory at each sparsity, relative to a dense layer.
        title: title of the panel of time and memory.

    >>> import torch
    >>> weights, biases = [torch.randn(4, 3), torch.randn(1, 4)], [torch.randn(4), torch.randn(1)]
    >>> mask = torch.rand(4, 3) < 0.5
    >>> figure = sparsity(weights, biases, [mask, None], mask * 1.0, mask, [0.9], [1.1], [1.5])
    >>> len(figure.axes)
    4
    """
    with style.look():
        figure = style.new_figure(15, 4.9)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
        labels = ["input", *["sparse"] * (len(weights) - 1), "output, dense"]
        draw_network(left, weights, biases=biases, masks=masks, labels=labels)
        left.set_title("Present edges (solid), absent edges (dotted)")
        bound = float(gradient.abs().max())
        shown = gradient.detach().cpu().masked_fill(~mask.cpu(), float("nan")).numpy()
        middle.set_facecolor("#E4E4E4")
        image = middle.imshow(shown, cmap=style.SIGNED, vmin=-bound, vmax=bound, aspect="auto")
        figure.colorbar(image, ax=middle, pad=0.02, aspect=24)
        middle.set(xlabel="input neuron", ylabel="output neuron")
        middle.locator_params(integer=True)
        middle.set_title(r"$\partial C/\partial W$: no weight where grey")
        for values, color, marker, label in (
            (time, style.BLUE, "o", "time"),
            (memory, style.VERMILION, "s", "memory"),
        ):
            right.plot(sparsities, values, marker + "-", color=color, label=label)
        right.axhline(1, color=style.BLACK, linewidth=1.2, linestyle=(0, (5, 4)), label="dense")
        right.set(xlabel="fraction of absent edges", ylabel="relative to the dense layer")
        right.set_ylim(bottom=0)
        right.set_title(title)
        right.legend(loc="lower left")
    return figure
