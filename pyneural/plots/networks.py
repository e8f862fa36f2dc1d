"""Networks as diagrams and as chains of matrices, and checks of their gradients."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.plots import style


def draw_network(
    axes: Any,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    labels: Sequence[str],
    masks: Sequence[Tensor | None] = (),
) -> Any:
    """Draws a network with edges coloured by weight and nodes coloured by bias.

    Args:
        axes: matplotlib axes.
        weights: weight [O, I] of each layer.
        biases: bias [O] of each layer.
        labels: text under each column of nodes.
        masks: boolean mask [O, I] of each layer, None for all edges; absent edges are dotted.

    Returns:
        the colour scale, for a colour bar.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    weights = [weight.detach().cpu() for weight in weights]
    biases = [bias.detach().cpu() for bias in biases]
    bound = max(float(values.abs().max()) for values in (*weights, *biases))
    scale = ScalarMappable(Normalize(-bound, bound), style.SIGNED)
    widths = [weights[0].shape[1], *(len(weight) for weight in weights)]
    columns = [torch.arange(width) - (width - 1) / 2 for width in widths]
    for i, weight in enumerate(weights):
        mask = masks[i] if masks else None
        for o, row in enumerate(weight.tolist()):
            for j, value in enumerate(row):
                ends = (i, i + 1), (-float(columns[i][j]), -float(columns[i + 1][o]))
                if mask is not None and not mask[o, j]:
                    axes.plot(*ends, color="#BBBBBB", linewidth=0.8, linestyle=":", zorder=1)
                    continue
                width = 1.2 + 3.2 * abs(value) / bound
                axes.plot(*ends, color="#999999", linewidth=width + 1.0, zorder=1)
                axes.plot(*ends, color=scale.to_rgba(value), linewidth=width, zorder=2)
    for i, column in enumerate(columns):
        colors: Any = scale.to_rgba(biases[i - 1].numpy()) if i else "white"
        axes.scatter(
            [i] * len(column), -column, s=620, c=colors, edgecolors=style.BLACK, linewidths=1.4,
            zorder=3,
        )  # fmt: skip
    for i, label in enumerate(labels):
        axes.text(i, -max(widths) / 2 - 0.1, label, ha="center", va="top", fontsize=13)
    axes.set(xlim=(-0.35, len(weights) + 0.35), ylim=(-max(widths) / 2 - 0.5, max(widths) / 2))
    axes.axis("off")
    return scale


def backpropagation(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    steps: Sequence[float],
    differences: Sequence[float],
    autograd: float,
) -> Any:
    """The network, and the difference of backpropagation from two other gradients.

    Args:
        weights: weight [O, I] of each layer.
        biases: bias [O] of each layer.
        steps: step sizes h of the finite differences.
        differences: relative difference from finite differences for each step size.
        autograd: relative difference from torch's gradient.

    >>> import torch
    >>> weights, biases = [torch.randn(4, 3), torch.randn(1, 4)], [torch.randn(4), torch.randn(1)]
    >>> figure = backpropagation(weights, biases, [1e-2, 1e-3], [1e-4, 1e-6], 1e-16)
    >>> len(figure.axes)
    3
    """
    with style.figure(13, 5.2) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        widths = [weights[0].shape[1], *(len(bias) for bias in biases)]
        hidden = [f"hidden {i}" for i in range(1, len(widths) - 1)]
        labels = ["input", *(hidden if len(hidden) > 1 else ["hidden"] * len(hidden)), "output"]
        scale = draw_network(left, weights, biases, labels)
        left.set_title("Weights (edges) and biases (nodes)")
        figure.colorbar(scale, ax=left, shrink=0.75, aspect=22, pad=0.02)
        right.loglog(steps, differences, "o-", color=style.BLUE, label="finite differences")
        floor = max(autograd, 1e-17)  # a logarithmic axis has no zero
        right.axhline(
            floor, color=style.VERMILION, linestyle=(0, (4, 2.5)), label="torch's autograd"
        )
        right.annotate(
            "$\\propto h^2$", (steps[len(steps) // 5], differences[len(steps) // 5]),
            xytext=(-12, 10), textcoords="offset points", ha="right", fontsize=14,
        )  # fmt: skip
        right.annotate(
            "rounding, $\\propto 1/h$", (steps[-1], differences[-1]),
            xytext=(14, 8), textcoords="offset points", ha="left", fontsize=12,
        )  # fmt: skip
        right.set(xlabel="step $h$", ylabel="relative difference")
        right.set_title("Backpropagation against two other gradients")
        right.legend(loc="lower left", bbox_to_anchor=(0.02, 0.1))
    return figure


def sparsity(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    masks: Sequence[Tensor | None],
    gradient: Tensor,
    mask: Tensor,
    sparsities: Sequence[float],
    time: Sequence[float],
    memory: Sequence[float],
    title: str = "",
) -> Any:
    """The network, the gradient of a masked layer, and time and memory relative to a dense layer.

    Args:
        weights: weight [O, I] of each layer of the network.
        biases: bias [O] of each layer.
        masks: boolean mask [O, I] of each layer, None for all edges.
        gradient: gradient of the cost with respect to the weight of a masked layer, [O, I].
        mask: boolean mask of that layer, [O, I].
        sparsities: fractions of absent edges.
        time: time at each sparsity, relative to a dense layer.
        memory: memory at each sparsity, relative to a dense layer.
        title: title of the panel of time and memory.

    >>> import torch
    >>> weights, biases = [torch.randn(4, 3), torch.randn(1, 4)], [torch.randn(4), torch.randn(1)]
    >>> mask = torch.rand(4, 3) < 0.5
    >>> figure = sparsity(weights, biases, [mask, None], mask * 1.0, mask, [0.9], [1.1], [1.5])
    >>> len(figure.axes)
    4
    """
    with style.figure(15, 4.9) as figure:
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
        labels = ["input", *["sparse"] * (len(weights) - 1), "output, dense"]
        draw_network(left, weights, biases, labels, masks)
        left.set_title("Present edges (solid), absent edges (dotted)")
        bound = float(gradient.abs().max())
        shown = gradient.detach().cpu().masked_fill(~mask.cpu(), float("nan")).numpy()
        middle.set_facecolor("#E4E4E4")
        image = middle.imshow(shown, cmap=style.SIGNED, vmin=-bound, vmax=bound, aspect="auto")
        figure.colorbar(image, ax=middle, pad=0.02, aspect=24)
        middle.set(xlabel="input neuron", ylabel="output neuron")
        middle.locator_params(integer=True)
        middle.set_title(r"$\partial C/\partial W$: no weight where grey")
        right.plot(sparsities, time, "o-", color=style.BLUE, label="time")
        right.plot(sparsities, memory, "s-", color=style.VERMILION, label="memory")
        right.axhline(1, color=style.BLACK, linewidth=1.2, linestyle=(0, (5, 4)), label="dense")
        right.set(xlabel="fraction of absent edges", ylabel="relative to the dense layer")
        right.set(ylim=(0, None), title=title)
        right.legend(loc="lower left")
    return figure


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
    with style.figure(12.5, 7.6) as figure:
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.25))
        _chain(top.subplots(), chain, bound)
        panels = bottom.subplots(1, len(curves), squeeze=False)[0]
        for panel, case in zip(panels, curves, strict=True):
            title, name, network, single_name, single = case
            panel.plot(s, network, color=style.BLUE, linewidth=3, label=name)
            dashed = (0, (4, 2.5))
            panel.plot(s, single, color=style.VERMILION, linestyle=dashed, label=single_name)
            panel.set(xlabel="coordinate along a line in input space", ylabel="$y$", title=title)
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
