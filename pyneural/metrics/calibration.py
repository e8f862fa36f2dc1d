"""Whether a posterior's credible regions contain the truth as often as they say.

All take N simulations: parameters theta drawn from the prior, [N, D], and for each S samples of the
posterior given the data that these parameters produced, [N, S, D].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, check_tensor, whole


class Coverage(NamedTuple):
    """Expected coverage of credible regions against their level, both [L], ascending."""

    levels: Tensor
    coverage: Tensor

    @property
    def deviation(self) -> float:
        """The largest distance from the diagonal; about 1.36 / sqrt(N) at most in 95 % of cases."""
        return float((self.coverage - self.levels).abs().max())


def tarp(
    truth: Tensor,
    samples: Tensor,
    *,
    references: Tensor | None = None,
    levels: int = 101,
    seed: int = 0,
) -> Coverage:
    """Tests of Accuracy with Random Points: the coverage of balls around random reference points.

        coverage(alpha) = mean over simulations of [f < alpha],    f = (k + u) / (S + 1)

    where k counts the samples that are closer to the reference point r than the truth is, and u is
    uniform in [0, 1). For the exact posterior, f is uniform and the curve the diagonal, whatever
    the reference points; the paper's f = k / S differs by at most 1 / S. A curve above the diagonal
    for levels near 1 and below it near 0 means too wide, the reverse too narrow.

    Only reference points that depend on the data can find a posterior that does not: the prior
    itself passes with random ones.

    Args:
        truth: parameters [N, D].
        samples: of the posteriors [N, S, D].
        references: points r [N, D] in the units of the parameters; None for uniform ones in the box
            of all truths.
        levels: number L >= 2 of levels alpha, from 0 to 1.
        seed: of the reference points and of u.

    Returns:
        levels and coverage, float64 [L]; ``deviation`` is the distance from the diagonal.

    Raises:
        ArgumentError: shapes that do not fit each other, numbers that are not finite floats, or
            fewer than two levels.

    Source: Lemos et al. (2023), arXiv:2302.03026, algorithm 2; distances are Euclidean after each
    parameter is divided by the range of its truths.

    >>> generator = torch.Generator().manual_seed(0)
    >>> centre = torch.randn(500, 1, 2, generator=generator)
    >>> truth = (centre + torch.randn(500, 1, 2, generator=generator)).squeeze(1)
    >>> samples = centre + torch.randn(500, 100, 2, generator=generator)
    >>> tarp(truth, samples).deviation < 0.06, tarp(truth, centre + 0.3 * samples).deviation > 0.1
    (True, True)
    """
    _check("tarp", truth, samples)
    levels = whole("tarp: levels", levels)
    if levels < 2:
        raise ArgumentError(f"tarp: levels: expected >= 2, got {levels}; write 101")
    generator = torch.Generator().manual_seed(whole("tarp: seed", seed))
    low, high = truth.aminmax(dim=0)
    span = torch.where(high > low, high - low, 1)
    draws = torch.rand(len(truth), truth.shape[1] + 1, generator=generator, dtype=torch.float64)
    draws = draws.to(truth.device)
    if references is None:
        references = low + (high - low) * draws[:, 1:].to(truth.dtype)
    else:
        check_tensor("tarp: references", references)
        if references.shape != truth.shape:
            raise ArgumentError(
                f"tarp: references: expected {list(truth.shape)}, got {list(references.shape)}; "
                "give one point for each simulation"
            )
        _check_finite("tarp", references=references)
    distance = torch.linalg.vector_norm((truth - references) / span, dim=1)
    closer = torch.stack(
        [
            (torch.linalg.vector_norm((sample - point) / span, dim=1) < limit).sum()
            for sample, point, limit in zip(samples, references, distance, strict=True)
        ]
    )
    fraction = ((closer + draws[:, 0]) / (samples.shape[1] + 1)).sort().values
    alpha = torch.linspace(0, 1, levels, dtype=torch.float64, device=truth.device)
    return Coverage(alpha, torch.searchsorted(fraction, alpha) / len(truth))


def sbc_ranks(truth: Tensor, samples: Tensor) -> Tensor:
    """Simulation-based calibration: the rank of each parameter's truth among its samples.

        rank_d = number of samples s with theta_sd < theta_d,    0 ... S

    For the exact posterior the ranks are uniform. A hump in their histogram means a posterior that
    is too wide, a U one that is too narrow, a slope one that is shifted. The samples must be
    independent: thin those of a Markov chain.

    Args:
        truth: parameters [N, D].
        samples: of the posteriors [N, S, D].

    Returns:
        int64 [N, D].

    Raises:
        ArgumentError: shapes that do not fit each other, or numbers that are not finite floats.

    Source: Talts et al. (2018), arXiv:1804.06788, algorithm 1.

    >>> sbc_ranks(torch.tensor([[0.0], [9.0]]), torch.tensor([[[-1.0], [2.0]], [[1.0], [2.0]]]))
    tensor([[1],
            [2]])
    """
    _check("sbc_ranks", truth, samples)
    return (samples < truth[:, None]).sum(1)


def rank_uniformity(ranks: Tensor, samples: int, bins: int = 20) -> Tensor:
    """p-value of the chi-squared test that ranks are uniform from 0 to S.

    Args:
        ranks: [N, D], from ``sbc_ranks``; N of at least five times ``bins``.
        samples: number S of samples that each rank was counted among.
        bins: number of bins of the histogram; S + 1 if that is less.

    Returns:
        float64 [D], uniform in [0, 1] for calibrated posteriors.

    Raises:
        ArgumentError: ranks that are not whole numbers from 0 to S, or too few of them.

    >>> rank_uniformity(torch.arange(100)[:, None], samples=99).item()
    1.0
    """
    samples, bins = whole("rank_uniformity: samples", samples), whole("rank_uniformity: bins", bins)
    check_tensor("rank_uniformity: ranks", ranks)
    if ranks.is_floating_point():
        got = str(ranks.dtype).removeprefix("torch.")
        raise ArgumentError(
            f"rank_uniformity: ranks: expected whole numbers, got {got}; give those of sbc_ranks"
        )
    bins = min(bins, samples + 1)
    if bins < 2 or ranks.ndim != 2 or len(ranks) < 5 * bins:
        raise ArgumentError(
            "rank_uniformity: ranks, samples and bins: expected [N, D] with N >= 5 bins, samples "
            f">= 1 and bins >= 2, got {list(ranks.shape)}, {samples} and {bins}; simulate more"
        )
    if not bool(((ranks >= 0) & (ranks <= samples)).all()):
        raise ArgumentError(
            f"rank_uniformity: ranks: expected 0 to {samples}, got {int(ranks.min())} to "
            f"{int(ranks.max())}; samples is their number for each simulation"
        )
    place = torch.arange(samples + 1, device=ranks.device) * bins // (samples + 1)
    share = place.bincount(minlength=bins).double() / (samples + 1)
    expected = (share * len(ranks))[:, None]
    counts = torch.nn.functional.one_hot(place[ranks], bins).sum(0).T  # [bins, D]
    chi = ((counts - expected).square() / expected).sum(0)
    return torch.special.gammaincc(chi.new_tensor((bins - 1) / 2), chi / 2)


def _check(where: str, truth: Tensor, samples: Tensor) -> None:
    check_tensor(f"{where}: truth", truth)
    check_tensor(f"{where}: samples", samples)
    good = truth.ndim == 2 and samples.ndim == 3 and truth.numel() > 0 and samples.numel() > 0
    good = good and (len(samples), samples.shape[2]) == tuple(truth.shape)
    if not good:
        raise ArgumentError(
            f"{where}: truth and samples: expected [N, D] and [N, S, D], none of them empty, got "
            f"{list(truth.shape)} and {list(samples.shape)}; samples[i] are of the posterior for "
            "the data of truth[i]"
        )
    _check_finite(where, truth=truth, samples=samples)


def _check_finite(where: str, **named: Tensor) -> None:
    for name, values in named.items():
        if not values.is_floating_point():
            kind = str(values.dtype).removeprefix("torch.")
            raise ArgumentError(
                f"{where}: {name}: expected floats, got {kind}; write {name}.float()"
            )
        if not bool(values.isfinite().all()):
            raise ArgumentError(
                f"{where}: {name}: expected finite numbers, got NaN or infinity; remove these "
                "simulations, and say how many they were"
            )
