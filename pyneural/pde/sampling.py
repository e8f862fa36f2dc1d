"""Where to put collocation points: uniform, Latin hypercube, Sobol, by a density."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyneural.errors import wholes
from pyneural.pde.hilbert import hilbert_index

SAMPLINGS = ("uniform", "lhs", "sobol")
_TINY = torch.finfo(torch.float64).tiny
_SELDOM = 1e-30  # of the largest density: chosen where nothing else is left


def unit_points(
    n: int, dim: int, sampling: str = "uniform", *, generator: torch.Generator | None = None
) -> Tensor:
    """Draws n points in the unit cube [0, 1)^dim, float64 on the CPU.

    Args:
        n: number of points, >= 1.
        dim: number of coordinates, >= 0.
        sampling: ``"uniform"`` (independent), ``"lhs"`` (Latin hypercube: one point in each of n
            equal slices of every coordinate; McKay, Beckman and Conover, 1979) or ``"sobol"``
            (scrambled Sobol sequence of ``torch.quasirandom``; best with n a power of two).
        generator: CPU generator that all randomness comes from, the scrambling included;
            None is torch's default one.

    Returns:
        [n, dim].

    Raises:
        ValueError: n below 1, an unknown sampling, a generator of another device.

    >>> g = torch.Generator().manual_seed(0)
    >>> points = unit_points(4, 2, "lhs", generator=g)
    >>> (points * 4).long().sort(dim=0).values.T.tolist()
    [[0, 1, 2, 3], [0, 1, 2, 3]]
    """
    n, dim = wholes("unit_points", n=n, dim=dim)
    if n < 1:
        raise ValueError(f"unit_points: n: expected at least 1 point, got {n}; ask for more")
    if generator is not None and generator.device.type != "cpu":
        raise ValueError(
            f"unit_points: generator: expected a CPU generator, got one on {generator.device}; "
            "use torch.Generator(), points are drawn on the CPU and then moved"
        )
    if sampling == "uniform":
        return torch.rand(n, dim, dtype=torch.float64, generator=generator)
    if sampling == "lhs":
        slices = [torch.randperm(n, generator=generator) for _ in range(dim)]
        within = torch.rand(n, dim, dtype=torch.float64, generator=generator)
        return (torch.stack(slices, 1) + within) / n if dim else within
    if sampling == "sobol":
        if dim == 0:
            return torch.empty(n, 0, dtype=torch.float64)
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        engine = torch.quasirandom.SobolEngine(dim, scramble=True, seed=seed)
        return engine.draw(n, dtype=torch.float64)
    raise ValueError(
        f"unit_points: sampling: expected one of {', '.join(SAMPLINGS)}, got {sampling!r}; "
        "choose one of them"
    )


def systematic(
    points: Tensor, density: Tensor, n: int, *, generator: torch.Generator | None = None
) -> Tensor:
    """Chooses n of M points by a density, evenly in space: systematic selection on Hilbert's curve.

    The points are put in the order of Hilbert's curve through their bounding box, and those are
    taken at which the running sum of the density passes

        (i + u) / n of its total,   i = 0, 1, ..., n - 1,   u uniform in [0, 1)

    A point is so taken n p_i / sum p times on average, and never more than this rounded up nor less
    than it rounded down; the same holds for any part of the curve, so that the points of any region
    are about as many as they should be.

    Args:
        points: [M, D].
        density: p_i >= 0, [M]; not all 0.
        n: how many to take, >= 1; may be more than M.
        generator: CPU generator; None is torch's default one.

    Returns:
        numbers of the chosen points, [n], on the CPU, in the order of the curve.

    Raises:
        ValueError: shapes that do not match, n below 1, a density that is negative, not finite or 0
            everywhere.

    >>> x = torch.linspace(0, 1, 5)[:, None]
    >>> systematic(x, torch.tensor([0.0, 1.0, 0.0, 2.0, 1.0]), 4).tolist()
    [1, 3, 3, 4]
    """
    where, p = "systematic", density.detach().to("cpu", torch.float64)
    n = _checked(where, points, "density", p, n)
    if not bool((p >= 0).all()) or not 0 < float(p.sum()) < math.inf:
        raise ValueError(
            f"{where}: density: expected finite numbers >= 0 that are not all 0, got "
            f"{float(p.min())} to {float(p.max())}; correct it"
        )
    x = points.detach().to("cpu", torch.float64)
    low, high = x.amin(0), x.amax(0)
    unit = (x - low) / torch.where(high > low, high - low, 1.0)
    order = hilbert_index(unit).argsort(stable=True)
    running = p[order].cumsum(0)
    places = torch.arange(n, dtype=torch.float64)
    places = (places + torch.rand((), dtype=torch.float64, generator=generator)) / n
    below = torch.nextafter(running[-1], running.new_zeros(()))  # whatever the product rounds to
    places = (places * running[-1]).clamp_max(below)
    return order[torch.searchsorted(running, places, right=True)]


def residual_adaptive(
    candidates: Tensor,
    residuals: Tensor,
    n: int,
    *,
    k: float = 1.0,
    c: float = 1.0,
    repeated: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Chooses collocation points where the residual is large, and the weights that make up for it.

    Candidate i is taken with a probability proportional to

        p_i = |r_i|^k / mean_j |r_j|^k + c

    the residual-based adaptive distribution of Wu, Zhu, Tan, Kartha and Lu (2023), whose defaults
    k = 1, c = 1 these are, here by ``systematic`` selection. Larger k follows the residual more
    closely, larger c is nearer to uniform. With the importance weights w_i = 1 / p_i, whose mean is
    1, (1 / n) sum w_i r(x_i)^2 still estimates the mean square over all candidates.

    Args:
        candidates: dense set of points in the domain, [M, D].
        residuals: residual of the equation at the candidates, [M].
        n: number of points to choose.
        k: exponent, >= 0.
        c: constant, >= 0.
        repeated: whether a candidate may be chosen several times, as a cell in which points are
            then drawn. Else it is chosen at most once: those with n p_i > sum p are chosen for
            certain, with the weights of that, and n is at most M.
        generator: CPU generator; None is torch's default one.

    Returns:
        numbers of the chosen candidates [n], and their weights [n] in float64, on the CPU.

    Raises:
        ValueError: shapes that do not match, n below 1 or too large, residuals that are not finite,
            k or c negative.

    >>> x = torch.linspace(0, 1, 1000)[:, None]
    >>> peak = torch.exp(-((x[:, 0] - 0.5) / 0.05) ** 2)
    >>> g = torch.Generator().manual_seed(0)
    >>> chosen, weights = residual_adaptive(x, peak, 100, generator=g)
    >>> int(((x[chosen] - 0.5).abs() < 0.1).sum()), round(weights.mean().item(), 9)
    (59, 1.0)
    >>> estimate, whole = (weights * peak[chosen] ** 2).mean(), peak.square().mean()
    >>> round((estimate / whole).item(), 2)
    1.0
    """
    where, size = "residual_adaptive", residuals.detach().to("cpu", torch.float64).abs()
    n = _checked(where, candidates, "residuals", size, n, None if repeated else len(candidates))
    if k < 0 or c < 0:
        raise ValueError(f"{where}: k, c: expected numbers >= 0, got {k}, {c}; raise them to 0")
    if not bool(torch.isfinite(size).all()):
        raise ValueError(
            f"{where}: residuals: expected finite numbers, got nan or inf; "
            "go back to the last network whose loss was finite"
        )
    size = (size / size.max().clamp_min(_TINY)) ** k
    density = size / size.mean().clamp_min(_TINY) + c
    if not repeated:
        density = _at_most_once(density, n)
    elif not bool(density.any()):
        density = torch.ones_like(density)
    chosen = systematic(candidates, density, n, generator=generator)
    weights = 1 / density[chosen]
    return chosen, weights / weights.mean()


def _at_most_once(density: Tensor, n: int) -> Tensor:
    """Probabilities [M] with the sum n: min(1, a p_i), with one factor a for all."""
    density = density.clamp_min(density.max().clamp_min(1.0) * _SELDOM)  # these come last
    certain = torch.zeros(len(density), dtype=torch.bool)
    while True:
        left = n - int(certain.sum())
        share = density * (left / density[~certain].sum()) if left else torch.zeros_like(density)
        more = (share >= 1) & ~certain
        if not bool(more.any()):
            return torch.where(certain, 1.0, share)
        certain |= more


def _checked(
    where: str, points: Tensor, argument: str, values: Tensor, n: int, most: int | None = None
) -> int:
    """The number n, as int; ValueError unless values fit the points and 1 <= n <= most."""
    if points.dim() != 2 or values.shape != points.shape[:1]:
        raise ValueError(
            f"{where}: {argument}: expected [M] for points [M, D], got {list(values.shape)} for "
            f"{list(points.shape)}; give one {argument.rstrip('s')} per candidate"
        )
    (n,) = wholes(where, n=n)
    if n < 1 or (most is not None and n > most):
        expected = "at least 1" if most is None else f"1 to {most} (the candidates)"
        raise ValueError(
            f"{where}: n: expected {expected}, got {n}; ask for "
            f"{'more' if n < 1 else 'fewer points or give more candidates'}"
        )
    return n
