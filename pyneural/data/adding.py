"""The adding problem: two numbers far apart in a sequence, to be summed at its end."""

from __future__ import annotations

import torch
from torch import Tensor


def adding_problem(count: int, steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sequences of random numbers, two of them marked; the target is the sum of these two.

    The first mark is in the first half and the second in the second half, so that a network must
    remember a number over T / 2 steps on average. Who forgets does best by the mean, 1, whose mean
    squared error is 1/6.

    Args:
        count: sequences, N.
        steps: of each, T >= 2.
        seed: of the numbers and marks.

    Returns:
        x, [N, T, 2], numbers in [0, 1] and marks, 0 or 1; y, [N, 1].

    Raises:
        ValueError: fewer than two steps.

    Source: Hochreiter and Schmidhuber, Neural Computation 9, 1735 (1997), section 5.4.

    >>> x, y = adding_problem(3, 10)
    >>> bool(((x[..., 0] * x[..., 1]).sum(1, keepdim=True) == y).all()), x[..., 1].sum(1).tolist()
    (True, [2.0, 2.0, 2.0])
    """
    if steps < 2:
        raise ValueError(f"adding_problem: steps: expected >= 2, got {steps}; write 100")
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(count, steps, generator=generator)
    first = torch.randint(0, steps // 2, (count, 1), generator=generator)
    second = torch.randint(steps // 2, steps, (count, 1), generator=generator)
    marks = torch.zeros(count, steps).scatter(1, torch.cat([first, second], 1), 1.0)
    return torch.stack([numbers, marks], -1), (numbers * marks).sum(1, keepdim=True)
