"""Learning curves of several networks on the adding problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style


def long_lag(
    sequence: Tensor, target: float, curves: Mapping[str, Sequence[float]], forgetting: float
) -> Any:
    """One sequence of the adding problem, and the held-out error of each network per epoch.

    Args:
        sequence: values and marks, [T, 2].
        target: sum of the marked values.
        curves: held-out mean squared error of each epoch, by the name of the network.
        forgetting: mean squared error of the best constant prediction.

    >>> figure = long_lag(Tensor([[0.5, 1.0], [0.25, 1.0]]), 0.75, {"GRU": [0.2, 0.1]}, 1 / 6)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['step', 'epoch']
    """
    with style.look():
        figure = style.new_figure(13, 4.6)
        task, errors = figure.subplots(1, 2, width_ratios=[1, 1.15])
        _draw_task(task, sequence, target)
        for index, (name, curve) in enumerate(curves.items()):
            epochs = range(1, len(curve) + 1)
            colour = style.CYCLE[index % len(style.CYCLE)]
            errors.plot(epochs, list(curve), color=colour, label=name, marker="o", markersize=4)
        errors.axhline(forgetting, color=style.GREY, linewidth=1.2, linestyle=(0, (4, 2)))
        errors.annotate(
            "always the mean", (1, forgetting), (0, 5), textcoords="offset points", color=style.GREY
        )
        errors.set(xlabel="epoch", ylabel="held-out mean squared error", yscale="log")
        errors.set_title("Learning to remember")
        errors.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _draw_task(axes: Any, sequence: Tensor, target: float) -> None:
    values, marks = sequence[:, 0].tolist(), sequence[:, 1].tolist()
    axes.plot(values, ".", color=style.GREY, markersize=5, alpha=0.7)
    chosen = [step for step, mark in enumerate(marks) if mark]
    axes.vlines(chosen, 0, [values[step] for step in chosen], color=style.VERMILION)
    axes.plot(chosen, [values[step] for step in chosen], "o", color=style.VERMILION, markersize=9)
    for step in chosen:
        on_left = step > 0.85 * len(values)
        axes.annotate(
            f"{values[step]:.2f}",
            (step, values[step]),
            (-8 if on_left else 8, -4),
            textcoords="offset points",
            ha="right" if on_left else "left",
            color=style.VERMILION,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
    axes.set(xlabel="step", ylabel="input", ylim=(0, 1.05))
    axes.set_title(f"Sum of the marked values: {target:.2f}")
