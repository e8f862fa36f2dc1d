"""Approximation error of networks against their width and depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style


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
    with style.look():
        figure = style.new_figure(15, 4.8)
        shown, by_width, by_depth = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
        shown.plot(x.numpy(), phi.numpy(), color=style.BLACK, linewidth=3.5, label=r"$\varphi(x)$")
        for (name, values), color in zip(fits, style.CYCLE, strict=False):
            shown.plot(x.numpy(), values.numpy(), color=color, label=name)
        shown.set(xlabel="$x$", ylabel="$y$")
        shown.set_title("Networks with one hidden layer")
        shown.legend()
        colors = [style.sequential(i, len(depths)) for i in range(len(depths))]
        for i, (depth, color) in enumerate(zip(depths, colors, strict=True)):
            layers = f"{depth} hidden layer{'' if depth == 1 else 's'}"
            by_width.loglog(widths, best[i].numpy(), "o-", color=color, label=layers)
            by_width.plot(widths, errors[i].numpy(), ".", color=color, markersize=4)
        by_width.set_xticks(widths, [str(width) for width in widths])
        by_width.minorticks_off()
        by_width.set(xlabel="width", ylabel="relative $L_2$ error")
        colors = [style.sequential(i, len(widths)) for i in range(len(widths))]
        for i, (width, color) in enumerate(zip(widths, colors, strict=True)):
            by_depth.semilogy(depths, best[:, i].numpy(), "o-", color=color, label=f"{width}")
            by_depth.plot(depths, errors[:, i].numpy(), ".", color=color, markersize=4)
        by_depth.set_xticks(depths)
        by_depth.set(xlabel="hidden layers", ylabel="relative $L_2$ error")
        low, high = by_width.get_ylim()
        for axes in (by_width, by_depth):
            axes.set_ylim(low, 30 * high)  # room for the legends
        by_width.set_title("Error against width")
        by_depth.set_title("Error against depth")
        by_width.legend(loc="upper right")
        by_depth.legend(loc="upper right", title="width", ncols=3)
    return figure
