"""Priors of a latent-variable model side by side: the latent plane, samples, figures by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from pyneural.plots import style
from pyneural.plots.latent_variables import mosaic

_BINS, _BLUR, _EDGE = 120, 7, 0.005  # of a density along an axis; share of the dots left outside


def latent_priors(
    planes: Mapping[str, tuple[Tensor, Tensor]],
    classes: Tensor,
    samples: Mapping[str, Tensor],
    curves: Mapping[str, Sequence[Sequence[float]]],
    accuracies: Mapping[str, Sequence[float]],
    reference: float,
    *,
    high: float = 1.0,
) -> Any:
    """Two models that differ in their prior, a row each; and their bounds and C2ST by seed.

    Args:
        planes: draws z of q(z|x) of samples, [N, 2], and of p(z), [M, 2], along the second and the
            first direction of a discriminant analysis, by the name of the prior.
        classes: whole number of each sample, [N], from 0 to 9.
        samples: images [R, C, H, W] of each model.
        curves: ELBO of held-out samples at each epoch, of each seed.
        accuracies: accuracy of the classifier two-sample test, of each seed.
        reference: that of training images in place of samples.
        high: value that is drawn black; 0 is white.

    >>> names = ("normal", "flow")
    >>> planes = {name: (torch.randn(50, 2), torch.randn(90, 2)) for name in names}
    >>> images = {name: torch.rand(3, 3, 8, 8) for name in names}
    >>> curves, accuracies = {name: [[-3, -2]] for name in names}, {name: [0.9] for name in names}
    >>> figure = latent_priors(planes, torch.arange(50) % 10, images, curves, accuracies, 0.6)
    >>> len(figure.axes)
    6
    """
    with style.figure(15.5, 9.6) as figure:
        grid = figure.subplots(2, 3, width_ratios=(1.15, 1.15, 0.9))
        for (plane, pictures, _), name in zip(grid, planes, strict=True):
            _draw_plane(plane, *planes[name], classes)
            plane.set_title(f"{name.capitalize()} prior $p(z)$ (shaded) and $q(z)$ (dots)")
            picture = mosaic(samples[name].detach().cpu().float(), gap=0.12 * high)
            style.draw_image(pictures, picture, cmap="gray_r", vmin=0, vmax=high)
            pictures.set_title(f"Samples with the {name} prior")
        _draw_curves(grid[0, 2], curves)
        _draw_accuracies(grid[1, 2], accuracies, reference)
    return figure


def _draw_plane(axes: Any, posterior: Tensor, prior: Tensor, classes: Tensor) -> None:
    colors = style.check_installed().colormaps["tab10"]
    z, drawn = posterior.detach().cpu().float(), prior.detach().cpu().float()
    low, top = z.quantile(_EDGE, dim=0), z.quantile(1 - _EDGE, dim=0)
    middle, half = (low + top) / 2, 0.6 * (top - low).max()
    ends = [float(end) for m in middle for end in (m - half, m + half)]
    counts = torch.histogramdd(drawn, [_BINS, _BINS], range=ends).hist.T[None]
    for _ in range(2):
        counts = avg_pool2d(counts, _BLUR, 1, _BLUR // 2)
    # The square root, so that a peak does not hide the rest.
    axes.imshow(
        counts[0].sqrt().numpy(), origin="lower", extent=ends, cmap="Greys", vmin=0,
        vmax=1.4 * float(counts.max().sqrt()), interpolation="bilinear",
    )  # fmt: skip
    axes.scatter(*z.T, s=5, color=[colors(int(number)) for number in classes], linewidths=0)
    for number in classes.unique().tolist():
        axes.annotate(
            str(number), z[classes.cpu() == number].median(0).values.tolist(), ha="center",
            va="center", fontsize=13, fontweight="bold", color=colors(int(number)),
            bbox={"boxstyle": "circle,pad=0.12", "facecolor": "white", "alpha": 0.85, "lw": 0},
        )  # fmt: skip
    axes.set(xlim=ends[:2], ylim=ends[2:], xticks=[], yticks=[])
    axes.set(xlabel="second discriminant direction", ylabel="first discriminant direction")


def _draw_curves(axes: Any, curves: Mapping[str, Sequence[Sequence[float]]]) -> None:
    ends = []
    for (name, seeds), color in zip(curves.items(), style.CYCLE, strict=False):
        for number, values in enumerate(seeds):
            label = f"{name} prior" if number == 0 else None
            axes.plot(range(1, len(values) + 1), values, color=color, linewidth=1.3, label=label)
            ends += [max(values), sorted(values)[len(values) // 4]]
    room = 0.1 * (max(ends) - min(ends))
    axes.set_ylim(min(ends) - room, max(ends) + room)
    axes.set(xlabel="epoch", ylabel="ELBO (nats an image)", title="Bound on new images")
    axes.legend(loc="lower right")


def _draw_accuracies(
    axes: Any, accuracies: Mapping[str, Sequence[float]], reference: float
) -> None:
    for (name, values), color in zip(accuracies.items(), style.CYCLE, strict=False):
        axes.plot(
            range(len(values)), values, "o", color=color, markersize=11, label=f"{name} prior"
        )
    axes.axhline(reference, color=style.GREY, linewidth=1.5, linestyle=(0, (4, 2)))
    axes.annotate(
        "training images", (1, reference), (0, 4), textcoords="offset points",
        xycoords=axes.get_yaxis_transform(), ha="right", color=style.GREY,
    )  # fmt: skip
    count = max(map(len, accuracies.values()))
    values = [reference, *(value for of_seeds in accuracies.values() for value in of_seeds)]
    lowest, most = min(values), max(values)
    room = max(0.3 * (most - lowest), 0.01)
    axes.set(
        xlim=(-0.5, count - 0.5), ylim=(lowest - room, most + 2 * room), xticks=range(count),
        xticklabels=[str(1 + number) for number in range(count)], xlabel="training",
        ylabel="accuracy of a classifier", title="Samples told from new images (C2ST)",
    )  # fmt: skip
    axes.set_yticks([tick for tick in axes.get_yticks() if lowest - room <= tick <= 1.0])
    axes.legend(loc="upper right", ncols=2)
