"""Losses and errors against the epochs of a training, or against the width of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style


def learning_curves(
    curves: Mapping[str, Sequence[float]], epochs: Sequence[int] | None = None, title: str = ""
) -> Any:
    """One panel for each quantity: solid for training, dashed for validation.

    Positive values that span more than a factor of 20 have a logarithmic axis.

    Args:
        curves: values of each epoch by name; "val_loss" is drawn in the panel of "loss".
        epochs: indices of the epochs, from 0; None for consecutive ones.
        title: title of the figure.

    Raises:
        ValueError: no curve, or an empty one.

    >>> figure = learning_curves({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7], "mae": [0.9, 0.4]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'mae']
    """
    names = [name for name in curves if not name.startswith("val_") and name != "learning_rate"]
    if not names or not len(curves[names[0]]):
        raise ValueError(
            "learning_curves: curves: expected at least one epoch, got none; fit first"
        )
    with style.figure(5.5 * len(names), 4) as figure:
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            training, validation = curves[name], curves.get(f"val_{name}")
            counted = None if epochs is None else [epoch + 1 for epoch in epochs]
            style.draw_losses(axes, training, validation, counted)
            if validation is not None:
                axes.legend()
            finite = [value for value in (*training, *(validation or ())) if math.isfinite(value)]
            if finite and min(finite) > 0 and max(finite) > 20 * min(finite):
                axes.set_yscale("log")
            axes.set(xlabel="epoch", ylabel=name)
        if title:
            figure.suptitle(title, x=0.012, ha="left")
    return figure


Case = tuple[str, Sequence[float], Sequence[float], Sequence[str]]


def loss_gallery(cases: Sequence[Case]) -> Any:
    """One panel for each training run.

    Args:
        cases: name of each run, its training and validation loss per epoch, and the labels of its
            diagnosis.

    >>> figure = loss_gallery([("good", [2, 1], [2, 1], ()), ("jumps", [2, 1], [2, 1], ["jumps"])])
    >>> len(figure.axes)
    2
    """
    columns = min(4, len(cases))
    rows = -(-len(cases) // columns)
    with style.figure(4.1 * columns, 3.3 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, (name, training, validation, labels) in zip(panels.flat, cases, strict=False):
            style.draw_losses(axes, training, validation)
            axes.set(yscale="log", title=name)
            found = ",\n".join(labels) or "nothing wrong"
            axes.text(
                0.97, 0.95, f"diagnosis: {found}", transform=axes.transAxes, ha="right", va="top",
                fontsize=11, color=style.GREY,
            )  # fmt: skip
            low, high = axes.get_ylim()
            spare = max(1.0, (10 * low / high) ** 0.5)  # a decade at least
            axes.set_ylim(low / spare, high * spare * (high / low * spare**2) ** 0.3)
            axes.minorticks_off()
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        for axes in panels[:, 0]:
            axes.set_ylabel("loss")
        panels[0, 0].legend(loc="center right")
        for axes in panels.flat[len(cases) :]:
            axes.set_axis_off()
    return figure


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
    kinds = (style.GREEN, "-", ""), (style.VERMILION, (0, (4, 2)), "wrong: ")
    with style.figure(4.4 * columns, 7) as figure:
        panels = figure.subplots(2, columns, squeeze=False)
        above, below = panels[:, 0]
        above.plot(weight, cost, color=style.BLUE, label="sigmoid")
        above.plot(weight, step_cost, color=style.VERMILION, label="step")
        above.set(xlabel="a weight $w$", ylabel="cost $C$")
        above.set_title(r"$C = \frac{1}{2}\sum_j (y_j - a_j)^2$")
        above.legend()
        below.plot(weight, slope, color=style.BLUE, label="sigmoid")
        below.axhline(0, color=style.VERMILION, label="step: 0, or none")
        below.set(xlabel="a weight $w$", ylabel=r"$\partial C / \partial w$", title="Its gradient")
        below.legend()
        for axes, (loss, measure, *pair) in zip(panels[:, 1:].flat, trainings, strict=False):
            for (last, values), (color, line, kind) in zip(pair, kinds, strict=True):
                epochs = range(1, len(values) + 1)
                axes.plot(epochs, values, color=color, linestyle=line, label=kind + last)
            axes.set(xlabel="epoch", ylabel=f"{measure} on new samples", ylim=(0, None))
            axes.set_title(f"loss: {loss}")
            axes.legend(title="last layer", alignment="left")
    return figure


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
    with style.figure(13, 4.6) as figure:
        task, errors = figure.subplots(1, 2, width_ratios=[1, 1.15])
        _draw_task(task, sequence, target)
        for index, (name, curve) in enumerate(curves.items()):
            epochs = range(1, len(curve) + 1)
            color = style.CYCLE[index % len(style.CYCLE)]
            errors.plot(epochs, list(curve), color=color, label=name, marker="o", markersize=4)
        errors.axhline(forgetting, color=style.GREY, linewidth=1.2, linestyle=(0, (4, 2)))
        errors.annotate(
            "always the mean", (1, forgetting), (0, 5), textcoords="offset points", color=style.GREY
        )
        errors.set(xlabel="epoch", ylabel="held-out mean squared error", yscale="log")
        errors.xaxis.get_major_locator().set_params(integer=True)
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
        offset, side = (-8, "right") if on_left else (8, "left")
        axes.annotate(
            f"{values[step]:.2f}", (step, values[step]), (offset, -4), ha=side,
            textcoords="offset points", color=style.VERMILION,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )  # fmt: skip
    axes.set(xlabel="step", ylabel="input", ylim=(0, 1.05))
    axes.set_title(f"Sum of the marked values: {target:.2f}")


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
    with style.figure(7.5, 4.8) as figure:
        axes = figure.subplots()
        axes.loglog(widths, training, "o-", color=style.BLUE, label="training: fits the weights")
        axes.loglog(
            widths, validation, "s--", color=style.VERMILION, label="validation: chooses the width"
        )
        once = "test: opened once"
        axes.plot(widths[chosen], test, "*", color=style.BLACK, markersize=17, label=once)
        axes.axhline(noise, color=style.GREY, linewidth=1.2, linestyle=":", label="noise")
        axes.set_xticks(widths, [str(width) for width in widths])
        axes.minorticks_off()
        ticks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
        low, high = axes.get_ylim()
        shown = [tick for tick in ticks if low <= tick <= high]
        axes.set_yticks(shown, [f"{tick:g}" for tick in shown])
        axes.set_ylim(low, high * (high / low) ** 0.2)  # the legend stands above the curves
        axes.set(xlabel="width of the hidden layer", ylabel="mean squared error")
        axes.legend(loc="upper left", ncols=2)
    return figure
