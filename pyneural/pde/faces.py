"""Faces of a domain: their names, their points and their outward normals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.pde.domain import Box, Drawing

Face = tuple[str, str]  # coordinate, "low" or "high"


def named_faces(domain: Box, coordinate: str | None, side: str, where: str) -> list[Face]:
    """Faces of one coordinate, or of all spatial ones (None), on one side or both.

    ValueError for a coordinate that is not there or is a parameter of the problem.

    >>> named_faces(Box(t=(0, 1), x=(-1, 1)), None, "both", "example")
    [('x', 'low'), ('x', 'high')]
    """
    if side not in ("low", "high", "both"):
        raise ValueError(
            f"{where}: side: expected 'low', 'high' or 'both', got {side!r}; choose one"
        )
    if coordinate is not None:
        domain.index(coordinate, where)
        if coordinate in domain.parameters:
            raise ValueError(
                f"{where}: coordinate: expected one with a boundary, got the parameter "
                f"{coordinate!r} of {domain}; leave it out, or make it a coordinate of the Box"
            )
    names = domain.spatial if coordinate is None else (coordinate,)
    if not names:
        raise ValueError(f"{where}: domain: expected a spatial coordinate, got {domain}; add one")
    return [(name, end) for name in names for end in ("low", "high") if side in (end, "both")]


def place(
    domain: Box, faces: Sequence[Face], points: int | Tensor, where: str, drawing: Drawing
) -> tuple[Tensor, Tensor]:
    """Points on faces, drawn or given, and the face that each is on.

    Args:
        domain: the domain.
        faces: the faces.
        points: how many to draw, shared evenly among the faces, or points [N, D] to check.
        where: the name that an error begins with.
        drawing: keywords of ``Box.sample_face``; of given points dtype and device only.

    Returns:
        points [N, D] and indices into faces [N].

    Raises:
        ValueError: no points, or points that are off the faces.
        TypeError: an unknown keyword in drawing.

    >>> points, face = place(Box(x=(0, 1)), [("x", "low"), ("x", "high")], 3, "example", {})
    >>> points.tolist(), face.tolist()
    ([[0.0], [0.0], [1.0]], [0, 0, 1])
    """
    unknown = set(drawing) - {"sampling", "generator", "dtype", "device"}
    if unknown:
        raise TypeError(f"{where}: unexpected keyword {', '.join(sorted(unknown))}; remove it")
    if isinstance(points, Tensor):
        return _given(domain, faces, points, where, drawing)
    if points < 1:
        raise ValueError(
            f"{where}: points: expected at least 1, got {points}; "
            "an empty condition has no effect: leave it out"
        )
    return domain.sample_faces(faces, points, **drawing)


def _given(
    domain: Box, faces: Sequence[Face], points: Tensor, where: str, drawing: Drawing
) -> tuple[Tensor, Tensor]:
    points = points.to(device=drawing.get("device"), dtype=drawing.get("dtype") or points.dtype)
    domain.check(points, where=where)
    bounds = {"low": domain.low.to(points), "high": domain.high.to(points)}
    columns = [(domain.names.index(name), side) for name, side in faces]
    on_face = torch.stack([points[:, d] == bounds[side][d] for d, side in columns])  # [faces, N]
    off = ~on_face.any(0)
    if bool(off.any()):
        names = " or ".join(
            f"{domain.names[d]} = {float(bounds[side][d]):g}" for d, side in columns
        )
        raise ValueError(
            f"{where}: points: expected points with {names}, got {points[off][0].tolist()}; "
            "set that coordinate to its bound"
        )
    return points, on_face.to(torch.int8).argmax(0)


def outward_normals(domain: Box, faces: Sequence[Face]) -> Tensor:
    """Outward unit normal of each face, [faces, D].

    >>> outward_normals(Box(t=(0, 1), x=(-1, 1)), [("x", "low"), ("x", "high")]).tolist()
    [[0.0, -1.0], [0.0, 1.0]]
    """
    normals = torch.zeros(len(faces), domain.dim)
    for normal, (name, side) in zip(normals, faces, strict=True):
        normal[domain.names.index(name)] = 1.0 if side == "high" else -1.0
    return normals
