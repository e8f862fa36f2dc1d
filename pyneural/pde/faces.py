"""Where conditions have their points: on parts of the boundary of a domain, with its normals."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pyneural.errors import whole
from pyneural.pde.coordinates import TIME, given_points
from pyneural.pde.domains import Box, Domain, Drawing

Part = str | Sequence[str] | None


def named_part(
    domain: Domain, part: Part, coordinate: str | None, side: str, where: str
) -> list[str]:
    """Names of parts of the boundary; none for all of it.

    A coordinate stands for the parts where it is at its bounds, ``x_low`` and ``x_high``, on one
    side or both.

    Raises:
        ValueError: an unknown part or side, a coordinate that is not there or is a parameter of the
            problem, a part and a coordinate, a domain without a boundary in space.

    >>> from pyneural.pde import Box
    >>> named_part(Box(t=(0, 1), x=(-1, 1)), None, "x", "both", "example")
    ['x_low', 'x_high']
    """
    if side not in ("low", "high", "both"):
        raise ValueError(
            f"{where}: side: expected 'low', 'high' or 'both', got {side!r}; choose one"
        )
    ends = ["low", "high"] if side == "both" else [side]
    if part is not None:
        if coordinate is not None or side != "both":
            raise ValueError(
                f"{where}: part: expected a part or a coordinate with its side, got both; leave "
                "one out"
            )
        domain.chosen(part, where)
        return [part] if isinstance(part, str) else list(part)
    if coordinate is None and side == "both":
        domain.chosen(None, where)
        return []
    if coordinate is not None:
        domain.index(coordinate, where)
        if coordinate in domain.parameters:
            raise ValueError(
                f"{where}: coordinate: expected one with a boundary, got the parameter "
                f"{coordinate!r} of {domain}; leave it out, or make it a coordinate of the Box"
            )
    known = {label for patch in (*domain.patches, *domain.time_patches) for label in patch.labels}
    names = domain.spatial if coordinate is None else (coordinate,)
    found = [f"{name}_{end}" for name in names for end in ends]
    for name in found:
        if name not in known:
            raise ValueError(
                f"{where}: coordinate: expected one with a part {name!r} of the boundary, got "
                f"{domain}, whose parts are {', '.join(domain.parts) or 'without names'}; choose "
                "one by part="
            )
    return found


def place(
    domain: Domain, part: Sequence[str], points: int | Tensor, where: str, drawing: Drawing
) -> tuple[Tensor, Tensor]:
    """Points on a part of the boundary, drawn or given, and the outward unit normals there.

    Args:
        domain: the domain.
        part: names of parts, also ``"t_low"`` and ``"t_high"``; none for the boundary in space.
        points: how many to draw, or points [N, D] to check.
        where: the name that an error begins with.
        drawing: keywords of ``Domain.boundary``; of given points dtype and device only.

    Returns:
        points and normals, [N, D] each.

    Raises:
        ValueError: no points, or points that are off the boundary.
        TypeError: an unknown keyword in drawing.

    >>> from pyneural.pde import Box
    >>> points, normals = place(Box(x=(0, 1)), [], 3, "example", {})
    >>> points.tolist(), normals.tolist()
    ([[0.0], [0.0], [1.0]], [[-1.0], [-1.0], [1.0]])
    """
    unknown = set(drawing) - Drawing.__optional_keys__
    if unknown:
        raise TypeError(f"{where}: unexpected keyword {', '.join(sorted(unknown))}; remove it")
    points = given_points(f"{where}: points", points, domain.names)
    if isinstance(points, Tensor):
        points = points.to(device=drawing.get("device"), dtype=drawing.get("dtype") or points.dtype)
        domain.check(points, where=where)
        normals, on = domain.normals_on(points, domain.chosen(part or None, where))
        if not bool(on.all()):
            raise ValueError(
                f"{where}: points: expected points {_described(domain, part)}, got "
                f"{points[~on][0].tolist()}; move them there, or remove them"
            )
        return points, normals
    points = whole(f"{where}: points", points)
    if points < 1:
        raise ValueError(
            f"{where}: points: expected at least 1, got {points}; "
            "an empty condition has no effect: leave it out"
        )
    return domain.boundary(points, part or None, **drawing)


def check_pairs(domain: Domain, coordinate: str, low: Tensor, high: Tensor) -> None:
    """ValueError unless points [N, D] at both bounds of a coordinate are on the boundary.

    Args:
        domain: the domain.
        coordinate: the periodic one.
        low: points at its low bound.
        high: the same at its high bound.
    """
    for side, points in (("low", low), ("high", high)):
        name = f"{coordinate}_{side}"
        _, on = domain.normals_on(points, domain.chosen(name, "Periodic"))
        on &= domain.accepts(points)
        if not bool(on.all()):
            raise ValueError(
                f"Periodic: coordinate: expected a partner on {name!r} for every point, got none "
                f"at {points[~on][0].tolist()} for {domain}; give points= where both faces are"
            )


def _described(domain: Domain, part: Sequence[str]) -> str:
    """Where the points of a part are, in words: with its bounds, if these are what it is."""
    names = list(part or domain.parts)
    bounds = {
        f"{name}_{side}": f"{name} = {float(bound[d]):g}"
        for d, name in enumerate(domain.names)
        for side, bound in (("low", domain.low), ("high", domain.high))
    }
    if set(names) <= set(bounds) and (isinstance(domain, Box) or names == [f"{TIME}_low"]):
        return "with " + " or ".join(bounds[name] for name in names)
    named = " or ".join(map(repr, part)) or "the boundary"
    return f"on {named} of {domain}"
