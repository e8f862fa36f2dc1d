"""Two-dimensional latent spaces of several encoders for the same data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style


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
    with style.look():
        figure = style.new_figure(5.2 * (1 + len(planes)), 7.6)
        panels = figure.subplots(2, 1 + len(planes), squeeze=False)
        data, bars = panels[:, 0]
        for sample, color in zip(readings.tolist(), style.CYCLE, strict=False):
            data.plot(times, sample, "o-", color=color)
        data.set(xlabel="$t$", ylabel="reading $x(t)$")
        data.set_title("Five readings, two parameters")
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
