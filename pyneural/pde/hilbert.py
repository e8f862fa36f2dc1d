"""Order of points along Hilbert's space-filling curve, in any dimension."""

from __future__ import annotations

import torch
from torch import Tensor

_BITS = 62  # of an index at most, so that it is a positive int64


def hilbert_index(points: Tensor, bits: int | None = None) -> Tensor:
    """Place along Hilbert's curve of points in the unit cube [0, 1)^d, [N] in int64.

    The curve goes through all 2^(d bits) cells of a grid, each beside the one before, so that
    points with near indices are near each other (Skilling 2004, "Programming the Hilbert curve",
    AIP Conf. Proc. 707). In one dimension the order is that of the coordinate.

    Args:
        points: [N, d], d >= 1; those outside the cube count as in the nearest cell.
        bits: of a coordinate, d bits <= 62; None for as many as that allows. Coordinates after the
            62nd do not matter.

    Raises:
        ValueError: no coordinate, or too many bits.

    >>> square = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]])
    >>> hilbert_index(square, bits=1).tolist()
    [0, 3, 2, 1]
    """
    if points.dim() != 2 or points.shape[1] < 1 or not points.is_floating_point():
        raise ValueError(
            "hilbert_index: points: expected floating-point [N, d] with d >= 1, got "
            f"{points.dtype} {list(points.shape)}; give one row per point"
        )
    points = points[:, :_BITS].to(torch.float64)
    d = points.shape[1]
    bits = _BITS // d if bits is None else bits
    if not 1 <= bits <= _BITS // d:
        raise ValueError(
            f"hilbert_index: bits: expected 1 to {_BITS // d} for {d} coordinates, got {bits}; "
            "leave it out"
        )
    cells = (points * 2.0**bits).clamp(0, 2.0**bits).long().clamp_max(2**bits - 1)
    if d == 1:
        return cells[:, 0]
    return _interleaved(_transposed(list(cells.unbind(1)), bits), bits)


def _transposed(x: list[Tensor], bits: int) -> list[Tensor]:
    """Cells to the bits of their index, dealt out to the coordinates (AxestoTranspose)."""
    for k in range(bits - 1, 0, -1):
        low = (1 << k) - 1
        for i in range(len(x)):
            high = -((x[i] >> k) & 1)  # all ones where the bit is set
            swapped = (x[0] ^ x[i]) & low & ~high
            x[0] = x[0] ^ (low & high) ^ swapped
            if i > 0:
                x[i] = x[i] ^ swapped
    for i in range(1, len(x)):  # Gray code
        x[i] = x[i] ^ x[i - 1]
    flip = torch.zeros_like(x[0])
    for k in range(bits - 1, 0, -1):
        flip ^= -((x[-1] >> k) & 1) & ((1 << k) - 1)
    return [each ^ flip for each in x]


def _interleaved(x: list[Tensor], bits: int) -> Tensor:
    """The bits of all coordinates in one number, the highest of each before the next ones."""
    index = torch.zeros_like(x[0])
    for k in range(bits - 1, -1, -1):
        for each in x:
            index = (index << 1) | ((each >> k) & 1)
    return index
