"""What a measure of samples gives where there is nothing to find."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, whole
from pyneural.progress import progress


class NoiseFloor(NamedTuple):
    """What two random halves of the real data score."""

    mean: float
    std: float  # over the halvings
    values: Tensor  # of each halving, float64

    def __str__(self) -> str:
        return f"{self.mean:.3g} +- {self.std:.1g}"


def noise_floor(
    metric: Callable[[Tensor, Tensor], float | Tensor],
    real: Tensor,
    *,
    repeats: int = 10,
    seed: int = 0,
) -> NoiseFloor:
    """Applies a measure of two samples to random halves of real data.

        floor = metric(real[p[: N // 2]], real[p[N // 2 :]]),   p a random permutation

    A model whose samples score this cannot be told from the data by this measure. Most measures
    depend on the number of rows: score N // 2 samples against N // 2 real rows to compare.

    Args:
        metric: of two sets of rows, a number. Bind further arguments with ``functools.partial``;
            of several results pick one: ``lambda x, y: precision_recall(x, y).recall``. A measure
            of one set may leave the other half out.
        real: rows [N, ...], N >= 4; of an odd number one is left out, so that halves are as large.
        repeats: number of halvings, >= 2.
        seed: of the permutations.

    Returns:
        mean, standard deviation over the halvings, and the values.

    Raises:
        ArgumentError: too few rows or repeats; and the errors of the measure.

    >>> from pyneural.metrics import sliced_wasserstein
    >>> x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    >>> floor = noise_floor(sliced_wasserstein, x)
    >>> 0.03 < floor.mean < 0.12, floor.std < 0.03
    (True, True)
    """
    repeats = whole("noise_floor: repeats", repeats)
    if repeats < 2:
        raise ArgumentError(f"noise_floor: repeats: expected >= 2, got {repeats}; write 10")
    if real.ndim < 1 or len(real) < 4:
        raise ArgumentError(
            f"noise_floor: real: expected at least 4 rows, got {list(real.shape)}; give more data"
        )
    generator = torch.Generator().manual_seed(whole("noise_floor: seed", seed))
    half, values = len(real) // 2, []
    for _ in progress("noise_floor", range(repeats)):
        order = torch.randperm(len(real), generator=generator).to(real.device)
        value = float(metric(real[order[:half]], real[order[half : 2 * half]]))
        if math.isnan(value):
            raise ArgumentError("noise_floor: metric: expected a number, got nan; correct it")
        values.append(value)
    found = torch.tensor(values, dtype=torch.float64)
    return NoiseFloor(float(found.mean()), float(found.std()), found)
