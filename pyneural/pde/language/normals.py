"""Unit normals at points of a boundary."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Normals(NamedTuple):
    """Unit normals at points."""

    columns: Tensor  # [N, D]
    axes: tuple[int, ...]  # coordinates in which some are not 0

    @staticmethod
    def of(columns: Tensor) -> Normals:
        """Normals from their components, [N, D]."""
        return Normals(columns, tuple(columns.any(0).nonzero().flatten().tolist()))
