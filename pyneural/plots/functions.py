"""Functions of one variable: activations, and networks that approximate a function."""

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
    with style.figure(3.5 * columns, 2.9 * rows) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, (name, values) in zip(panels, curves.items(), strict=False):
            for (label, color, line, width), value in zip(kinds, values, strict=True):
                panel.plot(z, value, color=color, linestyle=line, linewidth=width, label=label)
            for rule in (panel.axhline, panel.axvline):
                rule(0, color=style.GREY, linewidth=0.6, zorder=0)
            panel.set_title(f"{name}   {formulas[name]}")
        panels[0].set(xlim=(float(z.min()), float(z.max())), ylim=(-1.35, 2.35))
        for panel in panels[-columns:]:
            panel.set_xlabel("$z$")
        panels[0].legend(loc="upper left", handlelength=1.6)
    return figure


def approximation(
    x: Tensor,
    phi: Tensor,
    fits: Sequence[tuple[str, Tensor]],
    widths: Sequence[int],
    depths: Sequence[int],
    errors: Tensor,
) -> Any:
    """Some fitted functions, and the error against width and depth.

    Args:
        x: points, [N].
        phi: values of the function, [N].
        fits: name and values [N] of some networks.
        widths: W widths of the hidden layers.
        depths: D depths, that is, counts of hidden layers.
        errors: relative errors for S seeds, [D, W, S]; a line joins the best, dots are all seeds.

    >>> import torch
    >>> x = torch.linspace(-1, 1, 9)
    >>> figure = approximation(x, x**2, [("a", x)], [1, 2], [1], torch.rand(1, 2, 3))
    >>> len(figure.axes)
    3
    """
    best = errors.amin(-1)
    with style.figure(15, 4.8) as figure:
        shown, by_width, by_depth = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
        shown.plot(x.numpy(), phi.numpy(), color=style.BLACK, linewidth=3.5, label=r"$\varphi(x)$")
        for (name, values), color in zip(fits, style.CYCLE, strict=False):
            shown.plot(x.numpy(), values.numpy(), color=color, label=name)
        shown.set(xlabel="$x$", ylabel="$y$", title="Networks with one hidden layer")
        shown.legend()
        for i, depth in enumerate(depths):
            color = style.sequential(i, len(depths))
            layers = f"{depth} hidden layer{'' if depth == 1 else 's'}"
            by_width.loglog(widths, best[i].numpy(), "o-", color=color, label=layers)
            by_width.plot(widths, errors[i].numpy(), ".", color=color, markersize=4)
        by_width.set_xticks(widths, [str(width) for width in widths])
        by_width.minorticks_off()
        by_width.set(xlabel="width", ylabel="relative $L_2$ error", title="Error against width")
        for i, width in enumerate(widths):
            color = style.sequential(i, len(widths))
            by_depth.semilogy(depths, best[:, i].numpy(), "o-", color=color, label=f"{width}")
            by_depth.plot(depths, errors[:, i].numpy(), ".", color=color, markersize=4)
        by_depth.set_xticks(depths)
        by_depth.set(xlabel="hidden layers", ylabel="relative $L_2$ error")
        by_depth.set_title("Error against depth")
        low, high = by_width.get_ylim()
        for axes in (by_width, by_depth):
            axes.set_ylim(low, 30 * high)  # room for the legends
        by_width.legend(loc="upper right")
        by_depth.legend(loc="upper right", title="width", ncols=3)
    return figure
