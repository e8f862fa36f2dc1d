"""Points at which residuals are evaluated, and the network's jets there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.ops import Derivative
from pyneural.pde.language.normals import Normals
from pyneural.pde.network import Network, with_jets

MAIN = ""  # the points that outputs and inputs without a further name belong to


class Site(NamedTuple):
    """Points at which a residual is evaluated."""

    points: Tensor  # [N, D]
    normals: Normals | None = None
    shape: tuple[int, ...] | None = None  # of the values there; None for [N]


class Pair:
    """Outputs, inputs and normals at further points: side.u, side.u.x, side.x."""

    def __init__(self, values: Callable[[str], Any], known: Sequence[str], name: str) -> None:
        self._values, self._known, self._name = values, known, name

    def __getattr__(self, attribute: str) -> Any:
        if attribute not in self._known:
            error = AttributeError if attribute.startswith("_") else ValueError
            raise error(
                f"residual: {self._name}.{attribute}: expected one of "
                f"{', '.join(self._known)}, got {attribute!r}"
            )
        return self._values(attribute)


def jets_at(
    network: Network,
    sites: Mapping[str, Site],
    wanted: Mapping[str, tuple[Derivative, ...]],
) -> dict[str, dict[Derivative | None, Tensor]]:
    """Value (None) and derivatives of the network at each set of points, [n, O] each."""
    together: dict[tuple[Derivative, ...], list[str]] = defaultdict(list)
    for name in sites:
        together[wanted[name]].append(name)
    found, network = {}, with_jets(network)
    for asked, names in together.items():
        points = [sites[name].points for name in names]
        x = torch.cat(points) if len(points) > 1 else points[0]
        parts = network.jet(x, asked) if asked or not _has_value(network) else (network(x),)
        sizes = [len(p) for p in points]
        split = [part.split(sizes) if len(sizes) > 1 else (part,) for part in parts]
        for place, name in enumerate(names):
            channels = zip((None, *asked), split, strict=True)
            found[name] = {derivative: part[place] for derivative, part in channels}
    return found


def one_point(site: Site, like: Tensor) -> Normals | None:
    """Normals for a recording, whose points are one in the place of any number."""
    if site.normals is None:
        return None
    count = torch.Size((site.shape or ())[1:]).numel()
    return Normals(like.new_ones(count, site.normals.columns.shape[1]), site.normals.axes)


def _has_value(network: Any) -> bool:
    return getattr(type(network), "forward", None) is not torch.nn.Module.forward
