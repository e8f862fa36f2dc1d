"""Loss and metrics against epochs, training and validation in one colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyneural.plots import style

_VALIDATION = "val_"
_RATE = "learning_rate"


def learning_curves(
    curves: Mapping[str, Sequence[float]], epochs: Sequence[int] | None = None, title: str = ""
) -> Any:
    """A panel for each quantity: solid for training, dashed for validation.

    Panels of positive numbers that span more than a factor 20 are logarithmic.

    Args:
        curves: by name, one number an epoch; "val_loss" is drawn beside "loss".
        epochs: their numbers, counted from 0; by default those of the values.
        title: over the figure.

    Returns:
        a matplotlib figure; write it with ``plots.save``.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: no curve.

    >>> figure = learning_curves({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7], "mae": [0.9, 0.4]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'mae']
    """
    names = [name for name in curves if not name.startswith(_VALIDATION) and name != _RATE]
    if not names or not len(curves[names[0]]):
        raise ValueError("learning_curves: curves: expected at least one epoch, got none; train")
    with style.look():
        figure = style.new_figure(5.5 * len(names), 4)
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            _panel(axes, name, curves, epochs)
        if title:
            figure.suptitle(title, x=0.012, ha="left")
    return figure


def _panel(
    axes: Any, name: str, curves: Mapping[str, Sequence[float]], epochs: Sequence[int] | None
) -> None:
    numbers = [number + 1 for number in (epochs or range(len(curves[name])))]
    shown = [float(value) for value in curves[name]]
    axes.plot(numbers, shown, color=style.BLUE, label="training")
    if _VALIDATION + name in curves:
        beside = [float(value) for value in curves[_VALIDATION + name]]
        axes.plot(numbers, beside, color=style.VERMILION, linestyle=(0, (4, 2)), label="validation")
        shown += beside
        axes.legend()
    finite = [value for value in shown if value == value and abs(value) != float("inf")]
    if finite and min(finite) > 0 and max(finite) > 20 * min(finite):
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel=name)
