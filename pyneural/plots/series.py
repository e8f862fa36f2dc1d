"""Time series: observations, predictions, estimates of the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    with style.figure(12, 1.7 * len(predicted) + 0.9) as figure:
        panels = figure.subplots(len(predicted), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for index, (name, prediction) in enumerate(predicted.items()):
            axes = panels[index]
            axes.plot(steps, target, ".", color=style.GREY, markersize=6, label="reading")
            color = style.CYCLE[index % len(style.CYCLE)]
            axes.plot(steps, prediction, color=color, label="predicted")
            axes.set(ylabel="position", title=name)
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        panels[-1].set_xlabel("step")
    return figure


def state_space(
    truth: Tensor,
    observed: Tensor,
    bands: Mapping[str, tuple[Tensor, Tensor]],
    curves: Mapping[str, Sequence[float]],
    best: float,
) -> Any:
    """One state variable against time, one panel for each estimate, and the progress of fits.

    Args:
        truth: the state, [T].
        observed: the observations, [T], NaN where nothing was observed.
        bands: means and standard deviations, each [T], by name; drawn with 95 % intervals.
        curves: log-likelihood after each step of a fit, by name.
        best: log-likelihood of the true model.

    >>> import torch
    >>> zeros, ones = torch.zeros(5), torch.ones(5)
    >>> figure = state_space(zeros, zeros, {"filter": (zeros, ones)}, {"EM": [-3.0, -2.0]}, -2.1)
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['position', 'log-likelihood']
    """
    with style.figure(13, 2.6 * len(bands) + 1.2) as figure:
        left, right = figure.subfigures(1, 2, width_ratios=[1.9, 1])
        panels = left.subplots(len(bands), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (name, (mean, deviation)) in zip(panels, bands.items(), strict=True):
            _band(axes, mean, deviation)
            axes.plot(truth, color=style.BLACK, linewidth=1.2, label="state")
            axes.plot(observed, ".", color=style.VERMILION, markersize=6, label="observed")
            axes.set(ylabel="position", title=name)
        panels[-1].set_xlabel("step")
        handles, labels = panels[0].get_legend_handles_labels()
        left.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        _likelihoods(right.subplots(), curves, best)
    return figure


def _band(axes: Any, mean: Tensor, deviation: Tensor) -> None:
    low, high = mean - 1.96 * deviation, mean + 1.96 * deviation
    steps = range(len(mean))
    axes.fill_between(steps, low, high, color=style.SKY, alpha=0.45, linewidth=0, label="95 %")
    axes.plot(mean, color=style.BLUE, label="estimate")


def _likelihoods(axes: Any, curves: Mapping[str, Sequence[float]], best: float) -> None:
    for colour, (name, curve) in zip((style.GREEN, style.PURPLE), curves.items(), strict=False):
        axes.plot(range(len(curve)), list(curve), color=colour, label=name)
    axes.axhline(best, color=style.GREY, linestyle=(0, (4, 2)), linewidth=1.2, label="true model")
    highest = max(max(curve) for curve in curves.values())
    lowest = min(curve[min(1, len(curve) - 1)] for curve in curves.values())
    margin = 0.08 * max(highest - lowest, 1.0)
    axes.set(xlabel="step of the fit", ylabel="log-likelihood", title="Estimating the model")
    axes.set_ylim(lowest - margin, highest + margin)
    axes.legend(loc="lower right")
