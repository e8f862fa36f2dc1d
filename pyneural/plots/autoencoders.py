"""Images, latent vectors and their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style

Curves = tuple[str, Sequence[float], Sequence[float]]


def reconstructions(rows: Sequence[tuple[str, Tensor]], curves: Sequence[Curves] = ()) -> Any:
    """One row for the original images, and one for each representation or reconstruction.

    Args:
        rows: name and images [N, H, W] of each row. Images of the first row's size have values in
            [0, 1]; others are drawn as maps of arbitrary values.
        curves: name, training and validation loss per epoch; drawn on the right.

    >>> import torch
    >>> x = torch.rand(4, 8, 8)
    >>> figure = reconstructions([("original", x), ("predicted", x)], [("mse", [2, 1], [2, 1])])
    >>> len(figure.axes)
    9
    """
    count, size = len(rows[0][1]), rows[0][1].shape[1:]
    beside = 4.4 if curves else 0
    with style.figure(1.6 + count + beside, 1.15 * len(rows) + 0.2) as figure:
        left, right = figure, None
        if curves:
            left, right = figure.subfigures(1, 2, width_ratios=(1.6 + count, beside))
        lines = left.subplots(len(rows), count, squeeze=False)
        for (name, images), line in zip(rows, lines, strict=True):
            colors, bounds = "gray_r", (0.0, 1.0)
            if images.shape[1:] != size:
                colors, bounds = "viridis", (float(images.min()), float(images.max()))
            for axes, image in zip(line, images, strict=True):
                style.draw_image(axes, image, cmap=colors, vmin=bounds[0], vmax=bounds[1])
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=10)
        if right is not None:
            panels = right.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
            for axes, (name, training, validation) in zip(panels, curves, strict=True):
                style.draw_losses(axes, training, validation)
                axes.set_title(f"loss of {name}", fontsize=12)
                axes.set_ylim(0, None)
            panels[0].legend(loc="upper right")
            panels[-1].set_xlabel("epoch")
    return figure


def latent_planes(
    times: Sequence[float],
    readings: Tensor,
    planes: Sequence[tuple[str, Tensor]],
    causes: Sequence[tuple[str, Tensor]],
    errors: Sequence[tuple[str, float]],
) -> Any:
    """Latent planes coloured by the generating parameters, the data, and reconstruction errors.

    Args:
        times: times of the readings, [T].
        readings: some samples, [K, T].
        planes: name and coordinates [N, 2] of each latent plane.
        causes: name and values [N] of the two generating parameters.
        errors: name and relative reconstruction error of each encoder with its decoder.

    >>> import torch
    >>> plane, cause = ("PCA", torch.rand(9, 2)), ("w", torch.rand(9))
    >>> figure = latent_planes([0, 1], torch.rand(3, 2), [plane], [cause, cause], [("PCA", 0.1)])
    >>> len(figure.axes)
    6
    """
    with style.figure(5.2 * (1 + len(planes)), 7.6) as figure:
        panels = figure.subplots(2, 1 + len(planes), squeeze=False)
        data, bars = panels[:, 0]
        for sample, color in zip(readings.tolist(), style.CYCLE, strict=False):
            data.plot(times, sample, "o-", color=color)
        data.set(xlabel="$t$", ylabel="reading $x(t)$", title="Five readings, two parameters")
        names, values = zip(*errors, strict=True)
        drawn = bars.barh(names, values, color=style.BLUE, height=0.6)
        bars.bar_label(drawn, [f"{value:.2g}" for value in values], padding=4)
        bars.margins(x=0.15)
        bars.invert_yaxis()
        bars.set(xlabel="relative $L_2$ error on new samples")
        bars.set_title("Reconstruction from two latent variables")
        for row, (cause, value) in enumerate(causes):
            for axes, (name, plane) in zip(panels[row, 1:], planes, strict=True):
                z = plane.detach().cpu().numpy()
                shown = axes.scatter(z[:, 0], z[:, 1], c=value.cpu().numpy(), s=9, cmap="viridis")
                axes.set(xlabel="$z_1$", ylabel="$z_2$")
                if row == 0:
                    axes.set_title(name)
            figure.colorbar(shown, ax=panels[row, -1], label=cause, aspect=24)
    return figure
