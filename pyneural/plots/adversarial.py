"""What an adversarial training does: samples over time, its two losses, images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.plots import style
from pyneural.plots.latent_variables import mosaic

_SHOWN = 1500  # points of a panel


class SamplesOverTime(NamedTuple):
    """A row of panels: samples of a generator at some steps of its training."""

    title: str
    steps: Sequence[int]
    samples: Sequence[Tensor]  # [N, 2] each


class Saturations(NamedTuple):
    """Norms of the gradients of both losses, while a discriminator becomes sure of the samples."""

    d_fake: Sequence[float]  # means of D(G(z))
    minimax: Sequence[float]
    non_saturating: Sequence[float]


def adversarial_plane(
    rows: Sequence[SamplesOverTime],
    centres: Tensor,
    radius: float,
    saturations: Saturations,
    curves: Mapping[str, Mapping[str, Sequence[float]]],
) -> Any:
    """Samples over time beside the modes of a mixture, and what both losses tell the generator.

    Args:
        rows: a row of panels each; one that ended early has fewer.
        centres: of the modes, [K, 2].
        radius: of the circles around them, within which a sample counts for a mode.
        saturations: measured gradients of the generator.
        curves: "d_real" and "d_fake" of each epoch, by the name of the training.

    >>> row = SamplesOverTime("a", [1, 2], [torch.randn(9, 2)] * 2)
    >>> measured = Saturations([0.5, 0.1], [1.0, 0.1], [1.0, 2.0])
    >>> curves = {"a": {"d_real": [0.5, 0.6], "d_fake": [0.5, 0.4]}}
    >>> len(adversarial_plane([row], torch.ones(1, 2), 0.1, measured, curves).axes)
    5
    """
    columns = max(len(row.steps) for row in rows)
    with style.figure(3.1 * columns, 3.25 * len(rows) + 4.0) as figure:
        parts = figure.subfigures(len(rows) + 1, 1, height_ratios=[3.25] * len(rows) + [4.0])
        reach = 1.35 * float(centres.abs().max())
        for part, row in zip(parts[:-1], rows, strict=True):
            part.suptitle(row.title, x=0.01, ha="left", fontsize=14)
            panels = part.subplots(1, columns, squeeze=False)[0]
            for axes in panels[len(row.steps) :]:
                axes.set_axis_off()
            for axes, step, x in zip(panels, row.steps, row.samples, strict=False):
                _draw_samples(axes, x, centres, radius, reach)
                axes.set_title(f"step {step:,}", fontsize=11)
        slopes, norms, means = parts[-1].subplots(1, 3)
        _draw_slopes(slopes)
        _draw_norms(norms, saturations)
        _draw_means(means, curves)
    return figure


def _draw_samples(axes: Any, x: Tensor, centres: Tensor, radius: float, reach: float) -> None:
    x = x[:_SHOWN].detach().cpu()
    distance, _ = torch.cdist(x, centres).min(1)
    near = distance <= radius
    # What is close to a mode lies on it: drawn larger and below.
    axes.scatter(*centres.T, s=90, facecolors="none", edgecolors=style.BLACK, linewidths=1.0)
    axes.scatter(*x[~near].T, s=3, color=style.VERMILION, alpha=0.5, linewidths=0)
    axes.scatter(*x[near].T, s=4, color=style.BLUE, alpha=0.5, linewidths=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set(visible=True, color="0.8")


def _draw_slopes(axes: Any) -> None:
    """The derivatives of both losses by the logit, whose sizes are D and 1 - D."""
    d = torch.linspace(0, 1, 101)
    axes.plot(d, d, color=style.VERMILION, label="minimax: $D$")
    axes.plot(d, 1 - d, color=style.BLUE, label="non-saturating: $1 - D$")
    axes.set(xlabel="$D(G(z))$", ylabel="size", title="Derivative of each loss by the logit")
    axes.legend(loc="upper center")


def _draw_norms(axes: Any, found: Saturations) -> None:
    axes.loglog(found.d_fake, found.minimax, "o-", color=style.VERMILION, label="minimax", ms=4)
    axes.loglog(
        found.d_fake, found.non_saturating, "o-", color=style.BLUE, label="non-saturating", ms=4
    )
    axes.invert_xaxis()
    axes.set(
        xlabel="mean of $D(G(z))$, the discriminator alone being trained",
        ylabel="norm of the gradient", title="Measured gradient of the generator",
    )  # fmt: skip
    axes.legend(loc="lower left")


def _draw_means(axes: Any, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    for (name, history), color in zip(curves.items(), style.CYCLE, strict=False):
        epochs = range(1, len(history["d_real"]) + 1)
        axes.plot(epochs, history["d_real"], color=color, label=name)
        axes.plot(epochs, history["d_fake"], color=color, linestyle=(0, (3, 1.5)))
    axes.axhline(0.5, color=style.GREY, linewidth=0.8)
    axes.set(
        xlabel="epoch", ylim=(0, 1), title="Means of $D(x)$, and of $D(G(z))$ (dashed)",
    )  # fmt: skip
    axes.legend(loc="upper right")


def adversarial_images(
    curves: Mapping[str, Sequence[float]],
    steps: Mapping[str, Tensor],
    panels: Mapping[str, Tensor],
) -> Any:
    """Means of D, images from the same noise over time, and pictures of samples beside data.

    Args:
        curves: "d_real" and "d_fake" of each epoch.
        steps: images [C, H, W] of the same noise, by the title of the moment.
        panels: images [R, C, H, W] of each picture, by title.

    >>> images = torch.rand(2, 3, 8, 8)
    >>> curves = {"d_real": [0.5], "d_fake": [0.5]}
    >>> len(adversarial_images(curves, {"epoch 1": images[0]}, {"samples": images}).axes)
    3
    """
    with style.figure(4.6 * len(panels) + 4.6, 4.9) as figure:
        grid = figure.subplots(1, len(panels) + 1)
        left = grid[0].get_subplotspec().subgridspec(2, 1, height_ratios=(1, 1.2))
        grid[0].remove()
        means, over_time = (figure.add_subplot(part) for part in left)
        _draw_means(means, {"digits": curves})
        means.get_legend().remove()
        rows = torch.stack(list(steps.values())).detach().cpu().float()
        style.draw_image(over_time, mosaic(rows, gap=0.12), cmap="gray_r", vmin=0, vmax=1)
        height = rows.shape[2] + 1
        over_time.set_yticks([height * (i + 0.5) for i in range(len(rows))], list(steps))
        over_time.tick_params(length=0)
        over_time.set_title("The same noise over time")
        for axes, (title, images) in zip(grid[1:], panels.items(), strict=True):
            picture = mosaic(images.detach().cpu().float(), gap=0.12)
            style.draw_image(axes, picture, cmap="gray_r", vmin=0, vmax=1)
            axes.set_title(title)
    return figure
