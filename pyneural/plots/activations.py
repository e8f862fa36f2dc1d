"""Activations with their first two derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style


def activations(
    z: Tensor, curves: Mapping[str, Sequence[Tensor]], formulas: Mapping[str, str]
) -> Any:
    """One panel for each activation: value, first and second derivative.

    Args:
        z: points, [N].
        curves: [f(z), f'(z), f''(z)], each [N], by the name of the activation.
        formulas: formula of each activation, as mathematical text of matplotlib.

    >>> import torch
    >>> z = torch.linspace(-4, 4, 9)
    >>> figure = activations(z, {"sin": [z.sin(), z.cos(), -z.sin()]}, {"sin": "of z"})
    >>> figure.axes[0].get_title(loc="left")
    'sin   of z'
    """
    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    kinds = (("$f$", style.BLUE, "-", 3.0), ("$f'$", style.VERMILION, "-", 2.0),
             ("$f''$", style.GREEN, (0, (3, 2)), 1.6))  # fmt: skip
    with style.look():
        figure = style.new_figure(3.5 * columns, 2.9 * rows)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, (name, values) in zip(panels, curves.items(), strict=False):
            for (label, color, line, width), value in zip(kinds, values, strict=True):
                panel.plot(
                    z.numpy(), value.numpy(), color=color, linestyle=line, linewidth=width,
                    label=label,
                )  # fmt: skip
            for rule in (panel.axhline, panel.axvline):
                rule(0, color=style.GREY, linewidth=0.6, zorder=0)
            panel.set_title(f"{name}   {formulas[name]}")
        panels[0].set(xlim=(float(z.min()), float(z.max())), ylim=(-1.35, 2.35))
        for panel in panels[-columns:]:
            panel.set_xlabel("$z$")
        panels[0].legend(loc="upper left", handlelength=1.6)
    return figure
