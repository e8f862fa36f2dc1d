"""Choice of a network's width by its validation error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyneural.plots import style


def model_choice(
    widths: Sequence[int],
    errors: Sequence[tuple[float, float]],
    chosen: int,
    test: float,
    noise: float,
) -> Any:
    """Training and validation error against the width, and the test error of the chosen width.

    Args:
        widths: widths of the hidden layer.
        errors: training and validation error for each width.
        chosen: index of the width with the smallest validation error.
        test: test error of the chosen width.
        noise: error of a perfect prediction, that is, the variance of the noise.

    >>> figure = model_choice([1, 2], [(0.2, 0.3), (0.1, 0.2)], 1, 0.21, 0.09)
    >>> len(figure.axes)
    1
    """
    training, validation = zip(*errors, strict=True)
    with style.look():
        figure = style.new_figure(7.5, 4.8)
        axes = figure.subplots()
        axes.loglog(widths, training, "o-", color=style.BLUE, label="training: fits the weights")
        axes.loglog(
            widths, validation, "s--", color=style.VERMILION, label="validation: chooses the width"
        )
        axes.plot(widths[chosen], test, "*", color=style.BLACK, markersize=17,
                  label="test: opened once")  # fmt: skip
        axes.axhline(noise, color=style.GREY, linewidth=1.2, linestyle=":", label="noise")
        axes.set_xticks(widths, [str(width) for width in widths])
        axes.minorticks_off()
        ticks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
        low, high = axes.get_ylim()
        shown = [tick for tick in ticks if low <= tick <= high]
        axes.set_yticks(shown, [f"{tick:g}" for tick in shown])
        axes.set(xlabel="width of the hidden layer", ylabel="mean squared error")
        axes.legend()
    return figure
