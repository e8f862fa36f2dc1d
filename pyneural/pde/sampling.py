"""Where to put collocation points: uniform, Latin hypercube, Sobol, residual-adaptive."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.errors import wholes

SAMPLINGS = ("uniform", "lhs", "sobol")


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


def residual_adaptive(
    candidates: Tensor,
    residuals: Tensor,
    n: int,
    *,
    k: float = 1.0,
    c: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draws collocation points where the residual is large (RAD).

    Candidate i is taken with probability proportional to

        |r_i|^k / mean_j |r_j|^k + c

    without replacement: the residual-based adaptive distribution of Wu, Zhu, Tan, Kartha and Lu
    (2023), whose defaults k = 1, c = 1 these are. Larger k follows the residual more closely,
    larger c is nearer to uniform.

    Args:
        candidates: dense set of points in the domain, [M, D].
        residuals: residual of the equation at the candidates, [M].
        n: number of points to draw, 1 to M.
        k: exponent, >= 0.
        c: constant, >= 0.
        generator: CPU generator; None is torch's default one.

    Returns:
        [n, D], rows of candidates.

    Raises:
        ValueError: shapes that do not match, n outside 1 to M, residuals that are not finite,
            k or c negative.

    >>> x = torch.linspace(0, 1, 1000)[:, None]
    >>> peak = torch.exp(-((x[:, 0] - 0.5) / 0.05) ** 2)
    >>> g = torch.Generator().manual_seed(0)
    >>> chosen = residual_adaptive(x, peak, 100, k=2.0, c=0.0, generator=g)
    >>> bool(((chosen - 0.5).abs() < 0.2).all())
    True
    """
    where = "residual_adaptive"
    if candidates.dim() != 2 or residuals.shape != candidates.shape[:1]:
        raise ValueError(
            f"{where}: residuals: expected [M] for candidates [M, D], got "
            f"{list(residuals.shape)} for {list(candidates.shape)}; give one residual per candidate"
        )
    if not 1 <= n <= len(candidates):
        raise ValueError(
            f"{where}: n: expected 1 to {len(candidates)} (the candidates), got {n}; "
            "give more candidates or ask for fewer points"
        )
    if k < 0 or c < 0:
        raise ValueError(f"{where}: k, c: expected numbers >= 0, got {k}, {c}; raise them to 0")
    size = residuals.detach().to("cpu", torch.float64).abs()
    if not bool(torch.isfinite(size).all()):
        raise ValueError(
            f"{where}: residuals: expected finite numbers, got nan or inf; "
            "go back to the last network whose loss was finite"
        )
    size = (size / size.max().clamp_min(torch.finfo(torch.float64).tiny)) ** k
    weight = size / size.mean().clamp_min(torch.finfo(torch.float64).tiny) + c
    if int((weight > 0).sum()) < n:
        weight = weight + torch.finfo(torch.float32).tiny
    chosen = torch.multinomial(weight, n, replacement=False, generator=generator)
    return candidates[chosen.to(candidates.device)]
