"""Loss and metrics against epochs, in training and validation."""

from __future__ import annotations

import math
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

    Raises:
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
    training, validation = curves[name], curves.get(_VALIDATION + name)
    counted = None if epochs is None else [epoch + 1 for epoch in epochs]
    style.draw_losses(axes, training, validation, counted)
    if validation is not None:
        axes.legend()
    finite = [value for value in (*training, *(validation or ())) if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > 20 * min(finite):
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel=name)
