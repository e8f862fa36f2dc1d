"""Loss and metrics against epochs, in training and validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyneural.plots import style

_VALIDATION = "val_"
_RATE = "learning_rate"


def learning_curves(
    curves: Mapping[str, Sequence[float]], epochs: Sequence[int] | None = None, title: str = ""
) -> Any:
    """One panel for each quantity: solid for training, dashed for validation.

    Positive values that span more than a factor of 20 have a logarithmic axis.

    Args:
        curves: values of each epoch by name; "val_loss" is drawn in the panel of "loss".
        epochs: indices of the epochs, from 0; None for consecutive ones.
        title: title of the figure.

    Returns:
        a matplotlib figure; write it with ``plots.save``.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: no curve, or an empty one.

    >>> figure = learning_curves({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7], "mae": [0.9, 0.4]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'mae']
    """
    names = [name for name in curves if not name.startswith(_VALIDATION) and name != _RATE]
    if not names or not len(curves[names[0]]):
        raise ValueError(
            "learning_curves: curves: expected at least one epoch, got none; fit first"
        )
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
    counted = [epoch + 1 for epoch in (epochs or range(len(curves[name])))]
    shown = [float(value) for value in curves[name]]
    axes.plot(counted, shown, color=style.BLUE, label="training")
    if _VALIDATION + name in curves:
        beside = [float(value) for value in curves[_VALIDATION + name]]
        axes.plot(counted, beside, color=style.VERMILION, linestyle=(0, (4, 2)), label="validation")
        shown += beside
        axes.legend()
    finite = [value for value in shown if value == value and abs(value) != float("inf")]
    if finite and min(finite) > 0 and max(finite) > 20 * min(finite):
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel=name)
