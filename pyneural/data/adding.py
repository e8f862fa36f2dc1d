"""The adding problem: the sum of two marked values that are far apart in a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.errors import wholes


def adding_problem(count: int, steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sequences of random values, two of them marked; the target is the sum of the marked values.

    One mark is in the first half and one in the second half, so that a network must store a value
    for T / 2 steps on average. The best constant prediction, 1, has the mean squared error 1/6.

    Args:
        count: number of sequences N.
        steps: length T >= 2 of each.
        seed: random seed.

    Returns:
        x, [N, T, 2]: values in [0, 1] and marks, 0 or 1; y, [N, 1].

    Raises:
        ValueError: fewer than two steps.

    Source: Hochreiter and Schmidhuber, Neural Computation 9, 1735 (1997), section 5.4.

    >>> x, y = adding_problem(3, 10)
    >>> bool(((x[..., 0] * x[..., 1]).sum(1, keepdim=True) == y).all()), x[..., 1].sum(1).tolist()
    (True, [2.0, 2.0, 2.0])
    """
    count, steps, seed = wholes("adding_problem", count=count, steps=steps, seed=seed)
    if steps < 2:
        raise ValueError(f"adding_problem: steps: expected >= 2, got {steps}; write 100")
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(count, steps, generator=generator)
    first = torch.randint(0, steps // 2, (count, 1), generator=generator)
    second = torch.randint(steps // 2, steps, (count, 1), generator=generator)
    marks = torch.zeros(count, steps).scatter(1, torch.cat([first, second], 1), 1.0)
    return torch.stack([values, marks], -1), (values * marks).sum(1, keepdim=True)
