"""A time series and its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pyneural.plots import style


def predictions(target: Tensor, predicted: Mapping[str, Tensor], first_step: int = 0) -> Any:
    """One panel for each predictor, with the series and its prediction.

    Args:
        target: the series, [T].
        predicted: predictions [T] by the name of the predictor.
        first_step: index of the first element, for the time axis.

    >>> figure = predictions(Tensor([1.0, 2.0]), {"last": Tensor([0.5, 1.0])})
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['last']
    """
    steps = range(first_step, first_step + len(target))
    with style.look():
        figure = style.new_figure(12, 1.7 * len(predicted) + 0.9)
        panels = figure.subplots(len(predicted), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for index, (name, prediction) in enumerate(predicted.items()):
            axes = panels[index]
            axes.plot(steps, target, ".", color=style.GREY, markersize=6, label="reading")
            axes.plot(
                steps, prediction, color=style.CYCLE[index % len(style.CYCLE)], label="predicted"
            )
            axes.set_title(name)
            axes.set_ylabel("position")
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        panels[-1].set_xlabel("step")
    return figure
