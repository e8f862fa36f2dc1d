"""Where the collocation points of a PINN come from."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pyneural.errors import whole
from pyneural.pde import Domain, residual_adaptive
from pyneural.training.checks import check

_CANDIDATES = 20_000  # looked at in an adaptive draw, or
_PER_POINT = 4  # for each point that is drawn, if that is more


class PointSource(torch.nn.Module):
    """Draws collocation points from a domain, or takes them from a set of candidates.

    Args:
        domain: see ``pde.Domain``.
        sampling: how points are drawn from the domain, one of ``pde.SAMPLINGS``.
        generator: CPU generator that all randomness comes from.
        candidates: points [M, D] to take from instead, each at most once; None for the domain.
        given: whether the user has given the collocation points themselves.

    >>> from pyneural.pde import Box
    >>> ring = torch.tensor([[0.5, 0.0], [0.0, 0.5], [-0.5, 0.0]])
    >>> g = torch.Generator().manual_seed(0)
    >>> source = PointSource(Box(x=(-1, 1), y=(-1, 1)), "lhs", g, candidates=ring)
    >>> source.draw(2, like=ring).norm(dim=1).tolist()
    [0.5, 0.5]
    """

    candidates: Tensor | None

    def __init__(
        self,
        domain: Domain,
        sampling: str,
        generator: torch.Generator,
        candidates: Tensor | None = None,
        given: bool = False,
    ) -> None:
        super().__init__()
        self.domain, self.sampling, self.generator = domain, sampling, generator
        self.redraws = candidates is not None or not given
        self.register_buffer("candidates", candidates, persistent=False)

    def check_redraws(self, where: str) -> None:
        """ValueError where the points were given and there is nothing to draw others from."""
        check(
            self.redraws, where, "points that may be drawn anew", "points that were given",
            "give candidates=, the set to take them from, or points=N for the whole domain",
        )  # fmt: skip

    def draw(self, count: int, like: Tensor) -> Tensor:
        """Points with dtype and device of another tensor, [count, D]."""
        if self.candidates is None:
            return self._drawn(count, like, self.sampling)
        count, known = whole("PINN: points", count), len(self.candidates)
        remedy = "give more candidates or ask for fewer points"
        expected = f"1 to {known:,}, as there are candidates"
        check(1 <= count <= known, "PINN: points", expected, count, remedy)
        order = torch.randperm(known, generator=self.generator)[:count]
        return self.candidates[order.to(self.candidates.device)]

    def draw_adaptive(
        self, count: int, like: Tensor, residuals: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Points where the residual is large, [count, D], and their importance weights, [count].

        Where points are the image of a square or an interval, as in two-dimensional boxes and in
        disks, the candidates are one point in each cell of a grid, and new points are drawn in the
        cells that are chosen. Else they are points of Sobol's sequence, those inside the domain, or
        points of the given candidates, and points are chosen from them, each at most once.

        Args:
            count: how many.
            like: has their dtype and device.
            residuals: gives them for candidates [M, D], [M].
        """
        domain, many = self.domain, max(_CANDIDATES, _PER_POINT * count)
        in_cells = domain.units <= 2 and domain.share == 1 and domain.limit is None
        if self.candidates is None and in_cells:
            return self._in_cells(count, like, residuals, math.ceil(many ** (1 / domain.units)))
        if self.candidates is not None:
            pool = self.draw(max(count, min(many, len(self.candidates))), like)
        else:
            known = many if domain.limit is None else max(count, min(many, domain.limit))
            pool = self._drawn(known, like, "sobol")
        chosen, weights = residual_adaptive(pool, residuals(pool), count, generator=self.generator)
        return pool[chosen.to(pool.device)], weights.to(like)

    def _drawn(self, count: int, like: Tensor, sampling: str) -> Tensor:
        return self.domain.sample(
            count,
            sampling=sampling,
            generator=self.generator,
            dtype=like.dtype,
            device=like.device,
        )

    def _in_cells(
        self, count: int, like: Tensor, residuals: Callable[[Tensor], Tensor], side: int
    ) -> tuple[Tensor, Tensor]:
        """As ``draw_adaptive``, by a grid of so many cells a side."""
        axis = torch.arange(side, dtype=torch.float64)
        cells = torch.cartesian_prod(*[axis] * self.domain.units).view(-1, self.domain.units)

        def points(cells: Tensor) -> Tensor:
            jitter = torch.rand(cells.shape, dtype=torch.float64, generator=self.generator)
            return self.domain.propose((cells + jitter) / side)[0].to(like)

        chosen, weights = residual_adaptive(
            cells, residuals(points(cells)), count, repeated=True, generator=self.generator
        )
        return points(cells[chosen]), weights.to(like)

    def extra_repr(self) -> str:
        """The domain, or the number of candidates."""
        return repr(self.domain) if self.candidates is None else f"{len(self.candidates)} points"
