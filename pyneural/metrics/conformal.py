"""Expected coverage of credible regions, and a conformal correction of their level.

Both take one number for each of N new simulations: the credible level of the smallest region of the
posterior that still contains the true parameters,

    a_n = q( q(theta | x_n) > q(theta_n | x_n) ),    theta_n ~ prior,  x_n ~ p(x | theta_n)

for regions of highest density, as ``models.NeuralPosterior.credible_level`` gives it; for those of
any other shape that grow with their level it works as well.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, check_tensor, whole
from pyneural.metrics.calibration import Coverage


def expected_coverage(truth_levels: Tensor, *, levels: int = 101) -> Coverage:
    """How often credible regions contain the truth, by their level.

        coverage(alpha) = mean over simulations of [a_n <= alpha]

    The diagonal for an exact posterior; below it the posterior is too narrow (overconfident), above
    it too wide. The prior itself is on the diagonal too: this finds a wrong width, not lost
    information, for which there are the log-density and ``c2st``.

    Args:
        truth_levels: levels a, [N], from 0 to 1.
        levels: number L >= 2 of levels alpha, from 0 to 1.

    Returns:
        levels and coverage, float64 [L]; ``deviation`` is the distance from the diagonal.

    Raises:
        ArgumentError: levels a that are not floats from 0 to 1, or fewer than two levels alpha.

    Source: Hermans et al. (2022), arXiv:2110.06581, section 2.

    >>> exact = torch.rand(500, generator=torch.Generator().manual_seed(0))
    >>> expected_coverage(exact).deviation < 0.06
    True
    >>> narrow = expected_coverage(exact.sqrt())
    >>> narrow.coverage[50] < narrow.levels[50]
    tensor(True)
    """
    _check("expected_coverage", truth_levels)
    levels = whole("expected_coverage: levels", levels)
    if levels < 2:
        raise ArgumentError(f"expected_coverage: levels: expected >= 2, got {levels}; write 101")
    alpha = torch.linspace(0, 1, levels, dtype=torch.float64, device=truth_levels.device)
    found = torch.searchsorted(truth_levels.double().sort().values, alpha, right=True)
    return Coverage(alpha, found / len(truth_levels))


def conformal_level(truth_levels: Tensor, level: float) -> float:
    """Level whose credible regions contain the truth with at least a wanted probability.

        c = the k-th smallest of a_1 ... a_N,    k = ceil((N + 1) level)
        level <= P(theta in region of level c) <= level + 1 / (N + 1)

    for theta and x of one more simulation, whatever the posterior and however few simulations,
    if they are drawn as the N were and no posterior was trained on them; the upper bound if no two
    levels are equal. The probability is over theta, x and the N simulations, so a mean over the
    prior: for one x it may be more or less. For given simulations it is Beta(k, N + 1 - k)
    distributed, with a standard deviation of sqrt(level (1 - level) / N).

    A better posterior makes the regions smaller; this only makes them honest.

    Args:
        truth_levels: levels a, [N], from 0 to 1.
        level: wanted probability, in (0, 1).

    Returns:
        c, from 0 to 1.

    Raises:
        ArgumentError: levels that are not floats from 0 to 1, or fewer simulations than the level
            asks for, N >= level / (1 - level).

    Source: Vovk, Gammerman and Shafer (2005), Algorithmic Learning in a Random World; Lei et al.
    (2018), arXiv:1604.04173; for simulators Patel et al. (2023), arXiv:2305.14275, and with these
    levels Cabezas et al. (2025), arXiv:2508.17077.

    >>> narrow = torch.rand(9999, generator=torch.Generator().manual_seed(0)).sqrt()
    >>> round(conformal_level(narrow, 0.9), 2)  # the exact one is sqrt(0.9)
    0.95
    """
    _check("conformal_level", truth_levels)
    if not 0 < level < 1:
        raise ArgumentError(
            f"conformal_level: level: expected a number in (0, 1), got {level}; write 0.9 for 90 %"
        )
    count = len(truth_levels)
    # Without the rounding of the product, which would make 0.9 of 10 more than nine.
    place = math.ceil(round((count + 1) * level, 9))
    if place > count:
        needed = math.ceil(round(level / (1 - level), 9))
        raise ArgumentError(
            f"conformal_level: truth_levels: expected at least {needed:,} simulations for level "
            f"{level:g}, got {count:,}; simulate more, or ask for less"
        )
    return float(truth_levels.sort().values[place - 1])


def _check(where: str, truth_levels: Tensor) -> None:
    check_tensor(f"{where}: truth_levels", truth_levels)
    good = truth_levels.ndim == 1 and len(truth_levels) > 0 and truth_levels.is_floating_point()
    if not good:
        got = f"{str(truth_levels.dtype).removeprefix('torch.')} {list(truth_levels.shape)}"
        raise ArgumentError(
            f"{where}: truth_levels: expected floats [N], N >= 1, got {got}; give one level for "
            "each simulation, as NeuralPosterior.credible_level does"
        )
    if not bool(((truth_levels >= 0) & (truth_levels <= 1)).all()):  # nan neither
        outside = int((~((truth_levels >= 0) & (truth_levels <= 1))).sum())
        raise ArgumentError(
            f"{where}: truth_levels: expected 0 to 1, got {outside:,} outside or NaN; give the "
            "credible level of each truth, not its density"
        )
