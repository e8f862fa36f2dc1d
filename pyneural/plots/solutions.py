"""Solutions of differential equations beside their reference: fields of two coordinates, curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.plots import style


def solution_fields(
    axes: Sequence[tuple[str, Tensor]],
    predicted: Tensor,
    reference: Tensor | None,
    outputs: Sequence[str],
    *,
    marked: Tensor | None = None,
    title: str = "",
) -> Any:
    """A row for each output: network, reference, absolute error.

    Args:
        axes: name and values of the horizontal coordinate [A], and of the vertical one [B].
        predicted: the network's outputs on the grid, [A, B, O].
        reference: those that are right; None draws the network's alone, one beside the other.
        outputs: names of the outputs.
        marked: points [M, 2] that are marked in the fields.
        title: title of the figure.

    >>> x = torch.linspace(0, 1, 5)
    >>> u = torch.outer(x, x)[..., None]
    >>> len(solution_fields([("t", x), ("x", x)], u, u, "u").axes)
    6
    """
    predicted = predicted.detach().double().cpu()
    columns = len(outputs) if reference is None else 3
    rows = 1 if reference is None else len(outputs)
    with style.figure(4.9 * columns, 3.5 * rows + 0.7) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        if title:
            figure.suptitle(title, fontsize=15, x=0.012, ha="left")
        for index, name in enumerate(outputs):
            u = predicted[..., index]
            if reference is None:
                _field(figure, panels[0, index], axes, u, None, f"${name}$, network")
                continue
            right = reference[..., index].detach().double().cpu()
            bounds = _bounds(right)
            _field(figure, panels[index, 0], axes, u, bounds, f"${name}$, network")
            _field(figure, panels[index, 1], axes, right, bounds, f"${name}$, reference")
            error = (u - right).abs()
            top = 0.0, max(float(error.max()), 1e-300)
            _field(figure, panels[index, 2], axes, error, top, "absolute error", cmap="cividis")
        for panel in panels.flat:
            if marked is not None:
                panel.plot(*marked.T.numpy(), ".", color=style.BLACK, markersize=5, clip_on=False)
        for panel in panels[-1]:
            panel.set_xlabel(_label(axes[0][0]))
        for panel in panels[:, 0]:
            panel.set_ylabel(_label(axes[1][0]))
    return figure


def solution_curves(
    axis: tuple[str, Tensor],
    predicted: Tensor,
    reference: Tensor,
    outputs: Sequence[str],
    *,
    title: str = "",
) -> Any:
    """The outputs against one coordinate, and below them their absolute errors.

    Args:
        axis: name and values [N] of the coordinate.
        predicted: the network's outputs, [N, O].
        reference: those that are right, [N, O].
        outputs: names of the outputs.
        title: title of the figure.

    >>> t = torch.linspace(0, 1, 5)
    >>> y = torch.stack([t.sin(), t.cos()], 1)
    >>> len(solution_curves(("t", t), y, y + 1e-3, "uv").axes)
    2
    """
    name, values = axis
    predicted, reference = (each.detach().double().cpu() for each in (predicted, reference))
    with style.figure(11, 6.2) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
        if title:
            figure.suptitle(title, fontsize=15, x=0.012, ha="left")
        for index, (output, color) in enumerate(zip(outputs, style.CYCLE, strict=False)):
            right = reference[:, index]
            above.plot(values, right, color=color, linewidth=4, alpha=0.35, label=f"${output}$")
            above.plot(values, predicted[:, index], color=color, linestyle=(0, (4, 2.5)))
            error = (predicted[:, index] - right).abs()
            below.semilogy(values, error.where(error > 0, torch.nan), color=color, linewidth=1.4)
        (dashes,) = above.plot([], [], color=style.BLACK, linestyle=(0, (4, 2.5)))
        (line,) = above.plot([], [], color=style.BLACK, linewidth=4, alpha=0.35)
        handles, labels = above.get_legend_handles_labels()
        above.legend(
            [*handles, line, dashes], [*labels, "reference", "network"], loc="center left",
            bbox_to_anchor=(1, 0.5),
        )  # fmt: skip
        below.set(xlabel=_label(name), ylabel="absolute error")
        below.set_xlim(float(values.min()), float(values.max()))
    return figure


def _label(name: str) -> str:
    """A coordinate as mathematical text: x1 has an index."""
    return f"${name[0]}_{{{name[1:]}}}$" if name[1:].isdigit() else f"${name}$"


def _bounds(values: Tensor) -> tuple[float, float]:
    """Limits of a colour scale: symmetric where the values have both signs."""
    low, high = float(values.min()), float(values.max())
    bound = max(abs(low), abs(high), 1e-300)
    return (-bound, bound) if low < -0.1 * bound and high > 0.1 * bound else (low, high)


def _field(
    figure: Any,
    panel: Any,
    axes: Sequence[tuple[str, Tensor]],
    values: Tensor,
    bounds: tuple[float, float] | None,
    title: str,
    cmap: str | None = None,
) -> None:
    low, high = _bounds(values) if bounds is None else bounds
    (_, across), (_, up) = axes
    mesh = panel.pcolormesh(
        across.numpy(), up.numpy(), values.T.numpy(), vmin=low, vmax=high, shading="gouraud",
        cmap=cmap or (style.SIGNED if low == -high else "viridis"), rasterized=True,
    )  # fmt: skip
    figure.colorbar(mesh, ax=panel, pad=0.02, aspect=22)
    panel.set_title(title)
    panel.locator_params(nbins=5)
