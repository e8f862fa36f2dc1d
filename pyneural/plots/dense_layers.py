"""A fully connected layer as a diagram, its number of parameters, and its rounding errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style
from pyneural.plots.networks import draw_network


def dense_layer(
    weight: Tensor, bias: Tensor, widths: Sequence[int], counts: Sequence[int], distances: Tensor
) -> Any:
    """All nodes go to all nodes; parameters against the width; float32 against float64.

    Args:
        weight: of a small layer, [O, I].
        bias: of that, [O].
        widths: numbers n of inputs and of outputs of other layers.
        counts: their parameters, counted.
        distances: relative distances from float64, [widths, 4]: of outputs, ours and torch's, and
            of the gradients of the weights, ours and torch's.

    >>> import torch
    >>> figure = dense_layer(torch.rand(4, 3), torch.rand(4), [1, 2], [2, 6], torch.rand(2, 4))
    >>> len(figure.axes)
    4
    """
    outputs, inputs = weight.shape
    with style.figure(16, 5.4) as figure:
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.05, 1, 1))
        labels = [f"{inputs} inputs", f"{outputs} outputs"]
        scale = draw_network(left, [weight], [bias], labels)
        total = inputs * outputs + outputs
        left.set_title(f"{outputs} x {inputs} weights + {outputs} biases = {total} parameters")
        figure.colorbar(scale, ax=left, label="weight, bias", aspect=24, shrink=0.8)
        formula = [n * (n + 1) for n in widths]
        middle.plot(widths, formula, color=style.GREY, label="$n\\,(n + 1)$")
        middle.plot(widths, counts, "o", color=style.BLUE, markersize=8, label="counted")
        middle.set(ylabel="parameters", title="Parameters, from $n$ to $n$ nodes")
        kinds = (
            ("output, pyneural", style.BLUE, "o-"), ("output, torch", style.SKY, "o--"),
            ("gradient, pyneural", style.VERMILION, "s-"), ("gradient, torch", style.ORANGE, "s--"),
        )  # fmt: skip
        for (name, color, line), values in zip(kinds, distances.T.tolist(), strict=True):
            right.plot(widths, [1e7 * value for value in values], line, color=color, label=name)
        right.set(ylabel="relative distance [$10^{-7}$]", title="float32, distance from float64")
        right.set_ylim(0, 1.45e7 * float(distances.max()))
        middle.set_yscale("log")
        for axes in (middle, right):
            axes.set(xscale="log", xlabel="$n$")
            axes.set_xticks(widths, [str(width) for width in widths])
            axes.minorticks_off()
            axes.legend(loc="upper left", ncols=1 + (axes is right), fontsize=10)
    return figure
