"""A chain of matrices, and its output with and without activations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style


def matrices(
    chain: Sequence[Tensor],
    product: Tensor,
    s: Tensor,
    curves: Sequence[tuple[str, str, Tensor, str, Tensor]],
) -> Any:
    """The matrices and their product; below, outputs along a line in input space.

    Args:
        chain: the matrices, each [layer inputs, layer outputs].
        product: their product, [I, O].
        s: coordinate along the line, [N].
        curves: for each panel the title, name and outputs [N] of a network, and name and outputs
            [N] of a single matrix.

    >>> import torch
    >>> chain, s = [torch.randn(3, 5), torch.randn(5, 1)], torch.linspace(-1, 1, 9)
    >>> figure = matrices(chain, chain[0] @ chain[1], s, [("Title", "chain", s, "matrix", s)])
    >>> len(figure.axes)
    2
    """
    chain = [matrix.detach().cpu() for matrix in (*chain, product)]
    bound = max(float(matrix.abs().max()) for matrix in chain)
    with style.look():
        figure = style.new_figure(12.5, 7.6)
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.25))
        _chain(top.subplots(), chain, bound)
        for panel, (title, name, network, single_name, single) in zip(
            bottom.subplots(1, len(curves), squeeze=False)[0], curves, strict=True
        ):
            panel.plot(s.numpy(), network.numpy(), color=style.BLUE, linewidth=3, label=name)
            panel.plot(
                s.numpy(), single.numpy(), color=style.VERMILION, linestyle=(0, (4, 2.5)),
                label=single_name,
            )  # fmt: skip
            panel.set(xlabel="coordinate along a line in input space", ylabel="$y$")
            panel.set_title(title)
            panel.legend()
    return figure


def _chain(axes: Any, chain: Sequence[Tensor], bound: float) -> None:
    """Draws the matrices side by side, the last one after the equals sign."""
    left = 0.0
    for i, matrix in enumerate(chain):
        rows, columns = matrix.shape
        extent = (left, left + columns, -rows / 2, rows / 2)
        axes.imshow(matrix.numpy(), cmap=style.SIGNED, vmin=-bound, vmax=bound, extent=extent)
        cells = itertools.product(range(rows), range(columns))
        for (row, column), value in zip(cells, matrix.flatten(), strict=True):
            rounded = round(float(value), 1) + 0.0  # never -0.0
            axes.text(
                left + column + 0.5, rows / 2 - row - 0.5, f"{rounded:.1f}", ha="center",
                va="center", color="white" if abs(rounded) > 0.6 * bound else "black",
            )  # fmt: skip
        last = i == len(chain) - 1
        name = "product" if last else f"$W_{i + 1}$"
        axes.text(left + columns / 2, rows / 2 + 0.2, f"{name}, {rows} x {columns}", ha="center")
        if i:
            axes.text(left - 0.9, 0, "$=$" if last else "$\\times$", ha="center", va="center",
                      fontsize=24)  # fmt: skip
        left += columns + 1.8
    tallest = max(len(matrix) for matrix in chain)
    axes.set(xlim=(-0.2, left - 1.2), ylim=(-tallest / 2, tallest / 2 + 0.7))
    axes.axis("off")
