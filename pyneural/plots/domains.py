"""A domain in the plane: points inside and on its boundary, with the outward normals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.plots import style


def domain(
    interior: Tensor,
    boundary: Mapping[str, tuple[Tensor, Tensor]],
    *,
    names: Sequence[str] = ("x", "y"),
    title: str = "",
) -> Any:
    """Points inside a domain in the plane, and those on parts of its boundary with normals.

    Args:
        interior: points inside, [N, 2], as ``Domain.sample`` draws them.
        boundary: points and outward normals [M, 2] of each part, by its name, as
            ``Domain.boundary`` draws them.
        names: of the two coordinates.
        title: title of the figure.

    >>> import torch
    >>> inside, rim = torch.rand(20, 2) - 0.5, torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> figure = domain(inside, {"rim": (rim, rim)}, title="disk")
    >>> len(figure.legends[0].get_texts())
    2
    """
    inside = interior.detach().double().cpu()
    edges = [points.detach().double().cpu() for points, _ in boundary.values()]
    every = torch.cat([inside, *edges])
    low, high = every.amin(0), every.amax(0)
    width, height = (high - low).tolist()
    length = min(0.04 * max(width, height), 0.08 * min(width, height))  # of an arrow
    with style.figure(9, min(max(8 * height / width, 1.5), 8) + 1.5) as figure:
        axes = figure.subplots()
        axes.plot(
            *inside.T.numpy(), ".", color=style.GREY, markersize=3.5, markeredgewidth=0, alpha=0.7,
            label=f"{len(inside):,} points inside",
        )  # fmt: skip
        for number, (name, (points, normals)) in enumerate(boundary.items()):
            color = style.CYCLE[number % len(style.CYCLE)]
            x, y = points.detach().double().cpu().T.numpy()
            u, v = length * normals.detach().double().cpu().T.numpy()
            axes.quiver(
                x, y, u, v, color=color, angles="xy", scale_units="xy", scale=1, width=1.6e-3,
                headwidth=4, zorder=3,
            )  # fmt: skip
            axes.plot(
                x, y, "o", color=color, markersize=3.5, markeredgewidth=0, zorder=4,
                label=f"{name}: {len(x):,} points",
            )  # fmt: skip
        axes.set_aspect("equal")
        (left, bottom), (right, top) = (low - 2 * length).tolist(), (high + 2 * length).tolist()
        axes.set(xlabel=f"${names[0]}$", ylabel=f"${names[1]}$")
        axes.set(xlim=(left, right), ylim=(bottom, top))
        figure.legend(
            loc="outside lower center",
            ncols=4,
            columnspacing=1.2,
            handletextpad=0.2,
            markerscale=1.6,
        )
        if title:
            axes.set_title(title)
    return figure
