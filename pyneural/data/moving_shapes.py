"""Videos of a moving shape, with its motion in each frame as label."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.errors import wholes

MOTIONS = ("still", "up", "down", "left", "right")
_STEPS = torch.tensor([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])  # rows and columns per frame
_SHAPES = ("square", "diamond", "cross", "ring")
_TURN = 0.2  # probability of a change of motion from one frame to the next


def moving_shapes(
    count: int, frames: int = 20, seed: int = 0, *, size: int = 12, noise: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Videos of a shape that rests or moves by one pixel per frame, and turns at random.

    The boundaries are periodic, so that a single frame contains no information about the motion.
    The first frame is labelled "still".

    Args:
        count: number of videos N.
        frames: length T >= 1 of each video.
        seed: random seed.
        size: edge length S >= 5 of the frames, in pixels.
        noise: standard deviation of the noise of each pixel; the shape is 1 on a background of 0.

    Returns:
        x, float32 [N, T, S, S]; y, int64 [N, T], index in ``MOTIONS`` of the motion that led to
        each frame.

    Raises:
        ValueError: no frame, or frames too small for a shape.

    >>> x, y = moving_shapes(3, noise=0.0)
    >>> x.shape, y[:, 0].tolist()
    (torch.Size([3, 20, 12, 12]), [0, 0, 0])
    >>> bool((x[:, 0].sum((1, 2)) == x[:, 19].sum((1, 2))).all())
    True
    """
    if frames < 1 or size < 5:
        raise ValueError(
            f"moving_shapes: frames and size: expected >= 1 and >= 5, got {frames} and {size}; "
            "write 20 and 12"
        )
    count, frames = wholes("moving_shapes", count=count, frames=frames)
    seed, size = wholes("moving_shapes", seed=seed, size=size)
    draw = torch.Generator().manual_seed(seed)
    turns = torch.rand(count, frames, generator=draw) < _TURN
    chosen = torch.randint(len(MOTIONS), (count, frames), generator=draw)
    y = torch.zeros(count, frames, dtype=torch.int64)
    for t in range(1, frames):
        y[:, t] = torch.where(turns[:, t] | (t == 1), chosen[:, t], y[:, t - 1])
    place = torch.randint(size, (count, 1, 2), generator=draw) + _STEPS[y].cumsum(1)  # [N, T, 2]
    axis = torch.arange(size)
    rows, columns = ((axis - place[..., i, None]) % size for i in range(2))  # [N, T, S]
    shapes = torch.stack([_shape(name, size) for name in _SHAPES])
    kind = torch.randint(len(_SHAPES), (count, 1, 1, 1), generator=draw)
    x = shapes[kind, rows[..., :, None], columns[..., None, :]]
    return x + noise * torch.randn(x.shape, generator=draw), y


def _shape(name: str, size: int) -> Tensor:
    """A shape of up to 5 x 5 pixels in the corner of an image [S, S]."""
    axis = torch.arange(5)
    down, right = axis[:, None] - 2, axis - 2
    inside = {
        "square": (down.abs() < 2) & (right.abs() < 2),
        "diamond": down.abs() + right.abs() <= 2,
        "cross": (down == 0) | (right == 0),
        "ring": torch.maximum(down.abs(), right.abs()) == 2,
    }[name]
    image = torch.zeros(size, size)
    image[:5, :5] = inside.float()
    return image
