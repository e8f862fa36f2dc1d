"""Where the collocation points of a PINN come from."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.errors import whole
from pyneural.pde import Domain
from pyneural.training.checks import check


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
            return self.domain.sample(
                count,
                sampling=self.sampling,
                generator=self.generator,
                dtype=like.dtype,
                device=like.device,
            )
        count, known = whole("PINN: points", count), len(self.candidates)
        remedy = "give more candidates or ask for fewer points"
        expected = f"1 to {known:,}, as there are candidates"
        check(1 <= count <= known, "PINN: points", expected, count, remedy)
        order = torch.randperm(known, generator=self.generator)[:count]
        return self.candidates[order.to(self.candidates.device)]

    def draw_at_most(self, count: int, like: Tensor) -> Tensor:
        """As ``draw``; all candidates where there are fewer."""
        limit = self.domain.limit  # of a point cloud
        known = len(self.candidates) if self.candidates is not None else limit or count
        return self.draw(min(count, known), like)

    def extra_repr(self) -> str:
        """The domain, or the number of candidates."""
        return repr(self.domain) if self.candidates is None else f"{len(self.candidates)} points"
