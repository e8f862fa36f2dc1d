"""The Wasserstein distance of two sets of samples, over random directions."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, whole
from pyneural.metrics.checks import check_rows
from pyneural.progress import progress

_ELEMENTS = 1 << 24  # projections at a time


def sliced_wasserstein(x: Tensor, y: Tensor, *, directions: int = 200, seed: int = 0) -> float:
    """Sliced Wasserstein distance of order 2.

        SW = sqrt(mean over directions w of W(w x, w y)^2),   |w| = 1
        W(a, b)^2 = int_0^1 (F_a^(-1)(u) - F_b^(-1)(u))^2 du

    exact along each direction, by the quantiles of both sets. N samples of one distribution have
    a distance of the order of 1 / sqrt(N) of its width: see ``noise_floor``.

    Args:
        x: samples [N, D].
        y: samples [M, D].
        directions: number of directions, uniform on the sphere.
        seed: of the directions, so that values can be compared.

    Returns:
        in the unit of the samples, computed in float64.

    Raises:
        ArgumentError: rows that are empty, not finite or of different columns.

    Source: Bonneel et al., J. Math. Imaging Vis. 51, 22 (2015).

    >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> round(sliced_wasserstein(x, x + 3, directions=1000), 1)  # |shift| / sqrt(D)
    3.0
    """
    directions = whole("sliced_wasserstein: directions", directions)
    if directions < 1:
        raise ArgumentError(
            f"sliced_wasserstein: directions: expected >= 1, got {directions}; write 200"
        )
    check_rows("sliced_wasserstein", x=x, y=y)
    generator = torch.Generator().manual_seed(whole("sliced_wasserstein: seed", seed))
    w = torch.randn(directions, x.shape[1], dtype=torch.float64, generator=generator)
    w = torch.nn.functional.normalize(w).to(x.device)
    n, m = len(x), len(y)
    # Where one of the two quantile functions steps, in parts of 1 / (N M).
    steps = torch.cat([m * torch.arange(1, n + 1), n * torch.arange(1, m + 1)]).to(x.device)
    steps = steps.unique()
    width = steps.diff(prepend=steps.new_zeros(1)).double() / (n * m)
    of_x, of_y = (steps - 1) // m, (steps - 1) // n
    total = 0.0
    for part in progress("sliced_wasserstein", w.split(max(1, _ELEMENTS // len(steps)))):
        a, b = ((rows.detach().double() @ part.T).sort(0).values for rows in (x, y))
        total += float((width @ (a[of_x] - b[of_y]).square_()).sum())
    return (total / directions) ** 0.5
