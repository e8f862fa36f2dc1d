"""Weights that let a residual fall from early to late times."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyneural.errors import check_argument, whole


class Causal(torch.nn.Module):
    """Weights of points by their time: late ones count once the residual is small at earlier ones.

        w_k = exp(-eps sum_{j < k} L_j),   k = 1 ... slabs

    with L_j the mean square of the residual in slab j of the time, all slabs being equally long
    (Wang, Sankaran and Perdikaris, arXiv:2203.07404; slabs as in their later code). A network may
    else meet the equation at late times with a solution that starts from a wrong state. All points
    of a slab have its weight; the weights are constants for the gradient. Where the least of them,
    the last, is near 1, the equation is met everywhere.

    ``PINN(..., causal=Causal())`` multiplies the residual with them, beside all other weights.

    Args:
        eps: > 0; larger ones, as 10 or 100, demand more of early times. It may be changed in a
            training.
        slabs: into how many the time is cut, >= 2.
        every: steps from one update of the weights to the next, each of which takes the residual
            once at all points. Solvers that compare values of one loss begin anew there, so that
            they want more than 1.

    Raises:
        ValueError: numbers out of their range.

    >>> causal = Causal(eps=0.5, slabs=4)
    >>> causal.update(torch.tensor([0.1, 0.2, 0.3, 0.8]), torch.tensor([1.0, 3.0, 2.0, 9.0]))
    >>> causal.weights.tolist() == torch.exp(-0.5 * torch.tensor([0.0, 2, 4, 4])).tolist()
    True
    >>> causal(torch.tensor([0.0, 0.24, 1.0])).tolist() == causal.weights[[0, 0, 3]].tolist()
    True
    """

    weights: Tensor

    def __init__(self, eps: float = 1.0, slabs: int = 32, every: int = 10) -> None:
        super().__init__()
        slabs, every = whole("Causal: slabs", slabs), whole("Causal: every", every)
        check_argument(0 < eps < math.inf, "Causal: eps", "a number > 0", eps)
        check_argument(slabs >= 2, "Causal: slabs", "at least 2", slabs, "write 32")
        check_argument(every >= 1, "Causal: every", "at least 1", every, "write 10")
        self.eps, self.slabs, self.every = float(eps), slabs, every
        self.register_buffer("weights", torch.ones(slabs))

    def forward(self, time: Tensor) -> Tensor:
        """Weights at times from 0, the first, to 1, the last, [N] each."""
        return self.weights[self._slab(time)].to(time.dtype)

    @torch.no_grad()
    def update(self, time: Tensor, squares: Tensor, importance: Tensor | None = None) -> None:
        """Takes the weights from squares of the residual, all [N]; a slab without points has L = 0.

        Args:
            time: from 0 to 1.
            squares: of the residual at these times, of a system their sum.
            importance: weights of the points in the mean; None for equal ones.
        """
        each = torch.ones_like(squares) if importance is None else importance
        zeros, slab = squares.new_zeros(self.slabs), self._slab(time)
        total, count = zeros.index_add(0, slab, each * squares), zeros.index_add(0, slab, each)
        means = torch.where(count > 0, total / count, 0.0)
        earlier = torch.cat([zeros[:1], means[:-1]]).cumsum(0)
        self.weights.copy_(torch.exp(-self.eps * earlier))

    def extra_repr(self) -> str:
        """The arguments."""
        return f"eps={self.eps:g}, slabs={self.slabs}, every={self.every}"

    def _slab(self, time: Tensor) -> Tensor:
        return (time.detach() * self.slabs).long().clamp(0, self.slabs - 1)
