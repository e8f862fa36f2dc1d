"""Loss curves of several training runs, with their diagnoses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyneural.plots import style

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
    with style.look():
        figure = style.new_figure(4.1 * columns, 3.3 * rows)
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, (name, training, validation, labels) in zip(panels.flat, cases, strict=False):
            style.draw_losses(axes, training, validation)
            axes.set_yscale("log")
            axes.set_title(name)
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
