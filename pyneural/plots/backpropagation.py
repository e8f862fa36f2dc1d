"""Weights and biases of a perceptron, and a check of its gradient by finite differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style
from pyneural.plots.network import draw_network


def backpropagation(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    steps: Sequence[float],
    differences: Sequence[float],
    autograd: float,
) -> Any:
    """The network, and the difference of backpropagation from two other gradients.

    Args:
        weights: weight [O, I] of each layer.
        biases: bias [O] of each layer.
        steps: step sizes h of the finite differences.
        differences: relative difference from finite differences for each step size.
        autograd: relative difference from torch's gradient.

    >>> import torch
    >>> weights, biases = [torch.randn(4, 3), torch.randn(1, 4)], [torch.randn(4), torch.randn(1)]
    >>> figure = backpropagation(weights, biases, [1e-2, 1e-3], [1e-4, 1e-6], 1e-16)
    >>> len(figure.axes)
    3
    """
    with style.look():
        figure = style.new_figure(13, 5.2)
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        widths = [weights[0].shape[1], *(len(bias) for bias in biases)]
        hidden = [f"hidden {i}" for i in range(1, len(widths) - 1)]
        labels = ["input", *(hidden if len(hidden) > 1 else ["hidden"] * len(hidden)), "output"]
        scale = draw_network(left, weights, biases=biases, labels=labels)
        left.set_title("Weights (edges) and biases (nodes)")
        figure.colorbar(scale, ax=left, shrink=0.75, aspect=22, pad=0.02)
        right.loglog(steps, differences, "o-", color=style.BLUE, label="finite differences")
        floor = max(autograd, 1e-17)  # a logarithmic axis has no zero
        right.axhline(
            floor, color=style.VERMILION, linestyle=(0, (4, 2.5)), label="torch's autograd"
        )
        right.annotate(
            "$\\propto h^2$", (steps[len(steps) // 5], differences[len(steps) // 5]),
            xytext=(-12, 10), textcoords="offset points", ha="right", fontsize=14,
        )  # fmt: skip
        right.annotate(
            "rounding, $\\propto 1/h$", (steps[-1], differences[-1]),
            xytext=(14, 8), textcoords="offset points", ha="left", fontsize=12,
        )  # fmt: skip
        right.set(xlabel="step $h$", ylabel="relative difference")
        right.set_title("Backpropagation against two other gradients")
        right.legend(loc="lower left", bbox_to_anchor=(0.02, 0.1))
    return figure
