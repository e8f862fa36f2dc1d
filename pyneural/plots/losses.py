"""The quadratic cost against a weight; training with a suitable and an unsuitable last layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style

Training = tuple[str, Sequence[float]]


def losses(
    weight: Tensor,
    cost: Tensor,
    slope: Tensor,
    step_cost: Tensor,
    trainings: Sequence[tuple[str, str, Training, Training]],
) -> Any:
    """Cost and gradient against one weight, and one panel for each loss.

    Args:
        weight: values of the weight, [W].
        cost: cost of a network with a smooth activation, [W].
        slope: derivative of that cost, [W].
        step_cost: cost of a network with a step function as activation, [W].
        trainings: loss, metric, and for the suitable and the unsuitable last layer the activation
            and the metric after each epoch.

    >>> import torch
    >>> w = torch.linspace(-1, 1, 9)
    >>> figure = losses(w, w, w, w, [("mse", "mae", ("linear", [2, 1]), ("relu", [2, 2]))] * 6)
    >>> len(figure.axes)
    8
    """
    columns = 1 + (len(trainings) + 1) // 2
    with style.look():
        figure = style.new_figure(4.1 * columns, 7)
        panels = figure.subplots(2, columns, squeeze=False)
        above, below = panels[:, 0]
        above.plot(weight, cost, color=style.BLUE, label="sigmoid")
        above.plot(weight, step_cost, color=style.VERMILION, label="step")
        above.set(xlabel="a weight $w$", ylabel="cost $C$")
        above.set_title(r"$C = \frac{1}{2}\sum_j (y_j - a_j)^2$")
        above.legend()
        below.plot(weight, slope, color=style.BLUE, label="sigmoid")
        below.axhline(0, color=style.VERMILION, label="step: 0, or none")
        below.set(xlabel="a weight $w$", ylabel=r"$\partial C / \partial w$")
        below.set_title("Its gradient")
        below.legend()
        for axes, (loss, measure, *pair) in zip(panels[:, 1:].flat, trainings, strict=False):
            for (last, values), color, line, kind in zip(
                pair,
                (style.GREEN, style.VERMILION),
                ("-", (0, (4, 2))),
                ("", "wrong: "),
                strict=True,
            ):
                epochs = range(1, len(values) + 1)
                axes.plot(epochs, values, color=color, linestyle=line, label=kind + last)
            axes.set_ylim(0, None)
            axes.set(xlabel="epoch", ylabel=f"{measure} on new samples")
            axes.set_title(loss)
            axes.legend(title="last layer", alignment="left")
    return figure
