"""Accuracy of networks against what they cost, after Canziani, Paszke and Culurciello (2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pyneural.plots import style

_LINE = 10.5  # points between two names at the ends of lines


class NetworkCost(NamedTuple):
    """A network.

    Attributes:
        family: its kind, for the colour.
        accuracies: shares of right answers, one for each seed.
        operations, parameters: their numbers.
        seconds, bytes: for each batch size, time for a sample and peak memory.
    """

    family: str
    accuracies: Sequence[float]
    operations: float
    parameters: float
    seconds: Sequence[float]
    bytes: Sequence[float]


def network_costs(
    networks: Mapping[str, NetworkCost],
    batches: Sequence[int],
    memory_batches: Sequence[int],
    best: str = "",
    title: str = "",
) -> Any:
    """Accuracy against operations, bubbles as large as the number of parameters; time; memory.

    Args:
        networks: by name; bars are the range over the seeds.
        batches: batch sizes of the times.
        memory_batches: batch sizes of the memory.
        best: name of one that is marked.
        title: of the figure.

    >>> one = NetworkCost("linear", [0.9, 0.92], 1280, 650, [1e-6, 1e-7], [3000, 9000])
    >>> len(network_costs({"a": one, "b": one}, [1, 16], [1, 16], "a").axes)
    3
    """
    families = list(dict.fromkeys(network.family for network in networks.values()))
    palette = (*style.CYCLE, style.GREY, style.BLACK)
    colors = {family: palette[i % len(palette)] for i, family in enumerate(families)}
    with style.figure(16, 8.6) as figure:
        if title:
            figure.suptitle(title, fontsize=17, x=0.008, ha="left")
        left, right = figure.subfigures(1, 2, width_ratios=(1.6, 1))
        _bubbles(left.subplots(), networks, colors, best)
        above, below = right.subplots(2, 1)
        for name, network in networks.items():
            options = {"color": colors[network.family], "marker": "o", "markersize": 4}
            milliseconds = [1000 * value for value in network.seconds]
            above.plot(batches, milliseconds, **options)
            below.plot(memory_batches, [value / 2**20 for value in network.bytes], **options)
            for axes, sizes, values in (
                (above, batches, milliseconds),
                (below, memory_batches, [value / 2**20 for value in network.bytes]),
            ):
                axes.annotate(name, (sizes[-1], values[-1]), xytext=(7, 0), fontsize=9, va="center",
                              color=colors[network.family], textcoords="offset points",
                              annotation_clip=False)  # fmt: skip
        above.set(title="Time for an image", ylabel="processor time [ms]")
        below.set(title="Memory of a forward pass", ylabel="memory [MiB]", xlabel="batch size")
        for axes, sizes in ((above, batches), (below, memory_batches)):
            axes.set(xscale="log", yscale="log")
            axes.set_xticks(sizes, [f"{size}" for size in sizes])
            axes.minorticks_off()
            axes.grid(alpha=0.25)
            axes.set_xlim(right=sizes[-1] * (sizes[-1] / sizes[0]) ** 0.32)
        for axes in (above, below):
            _spread(axes)
    return figure


def _bubbles(
    axes: Any, networks: Mapping[str, NetworkCost], colors: Mapping[str, str], best: str
) -> None:
    means = {name: sum(n.accuracies) / len(n.accuracies) for name, n in networks.items()}
    largest = max(network.parameters for network in networks.values())
    for name, network in networks.items():
        x, y, color = network.operations, 100 * means[name], colors[network.family]
        low, high = 100 * min(network.accuracies), 100 * max(network.accuracies)
        axes.plot([x, x], [low, high], color=color, linewidth=1.6, zorder=3)
        size = 2600 * network.parameters / largest
        axes.scatter([x], [y], s=max(size, 14), color=color, alpha=0.45, linewidths=0, zorder=2)
        axes.plot([x], [y], ".", color=color, markersize=5, zorder=4)
    axes.set(xscale="log", xlabel="operations for an image", ylabel="accuracy on new images [%]")
    axes.set_title(f"Accuracy and operations (area: parameters, the largest {largest:,.0f})")
    axes.grid(alpha=0.25)
    axes.margins(0.12, 0.1)
    places = [(name, n.operations, 100 * means[name], n) for name, n in networks.items()]
    _label(axes, places, colors, best, largest)


def _label(
    axes: Any, places: Sequence[tuple[str, float, float, NetworkCost]], colors: Mapping[str, str],
    best: str, largest: float,
) -> None:  # fmt: skip
    """Names beside the bubbles, each on the side on which it covers or leaves the least."""
    axes.figure.canvas.draw()
    points = {name: axes.transData.transform((x, y)) for name, x, y, _ in places}
    scale = axes.figure.get_dpi() / 72
    radii = {
        name: scale * max(3.0, (2600 * n.parameters / largest / 3.14) ** 0.5)
        for name, *_, n in places
    }
    bubbles = ((*points[name], radius) for name, radius in radii.items())
    taken = [(x - r, y - r, x + r, y + r) for x, y, r in bubbles]
    for name, x, y, network in places:
        text = f"{name} (cheapest of the best)" if name == best else name
        width, height, gap = 7.4 * scale * len(text), 14 * scale, radii[name] + 5 * scale
        at_x, at_y = points[name]
        sides = {
            (gap, 0): ("left", "center"), (-gap, 0): ("right", "center"),
            (0, gap): ("center", "bottom"), (0, -gap): ("center", "top"),
            (0.7 * gap, 0.7 * gap): ("left", "bottom"), (-0.7 * gap, -0.7 * gap): ("right", "top"),
            (-0.7 * gap, 0.7 * gap): ("right", "bottom"), (0.7 * gap, -0.7 * gap): ("left", "top"),
        }  # fmt: skip
        boxes = {}
        for (dx, dy), (across, along) in sides.items():
            x0 = at_x + dx - {"left": 0, "center": width / 2, "right": width}[across]
            y0 = at_y + dy - {"bottom": 0, "center": height / 2, "top": height}[along]
            boxes[dx, dy] = (x0, y0, x0 + width, y0 + height)
        lost = {
            side: sum(_overlap(box, other) for other in taken) - _overlap(box, axes.bbox.extents)
            for side, box in boxes.items()
        }
        chosen = min(lost, key=lambda side: lost[side])
        taken.append(boxes[chosen])
        across, along = sides[chosen]
        axes.annotate(
            text, (x, y), xytext=(chosen[0] / scale, chosen[1] / scale),
            textcoords="offset points", ha=across, va=along, color=colors[network.family],
            fontsize=12, fontweight="bold" if name == best else "normal",
        )  # fmt: skip


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Area that two boxes (x0, y0, x1, y1) share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)


def _spread(axes: Any) -> None:
    """Moves the names at the ends of the lines apart, by as little as possible."""
    axes.figure.canvas.draw()
    names = sorted(axes.texts, key=lambda text: text.xy[1])
    scale = 72 / axes.figure.get_dpi()
    ends = [scale * axes.transData.transform(text.xy)[1] for text in names]
    # Least squares with differences of a line at least: groups that touch lie around their mean.
    groups: list[list[float]] = []
    for index, end in enumerate(ends):
        groups.append([end - _LINE * index])
        while len(groups) > 1 and _mean(groups[-2]) >= _mean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    levels = [_mean(group) for group in groups for _ in group]
    for index, (text, end) in enumerate(zip(names, ends, strict=True)):
        text.set_position((7, levels[index] + _LINE * index - end))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
