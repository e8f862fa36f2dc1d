"""The residuals of all terms of a loss and of all processes, and their derivatives.

Letters: T parameters, R residuals, of all terms and processes; K order of a path.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.training.distributed import ProcessGroup
from pyneural.training.least_squares import SquaredTerm


class Residuals:
    """The residuals r of all terms, r [R], whose sum of squares is minimised.

        |r|^2 = (1/S) sum_s share_s |r of process s|^2

    over the S processes, as for the losses of other solvers; all sums in float64.

    Args:
        terms: of this process.
        process_group: the processes.
        share: of this process, see ``Batch``.
    """

    def __init__(
        self, terms: Sequence[SquaredTerm], process_group: ProcessGroup, share: float
    ) -> None:
        self.terms, self.process_group = terms, process_group
        self._factor = share / process_group.size

    def losses(self) -> Tensor:
        """Sum of squares of each term, [terms]."""
        losses = torch.stack([term.loss() for term in self.terms])
        return self.process_group.sum(losses * self._factor)

    def gram(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sum of squares of each term, [terms]; J^T r, [T]; J^T J, [T, T]."""
        losses: list[Tensor] = []
        sums: list[Tensor] = []
        for term in self.terms:
            loss, *parts = term.gram()
            losses.append(loss)
            sums = [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts
        whole = [torch.stack(losses), *sums]
        if self._factor != 1.0:
            whole = [part * self._factor for part in whole]
        loss, gradient, gram = map(self.process_group.sum, whole)
        return loss, gradient, gram

    def jacobian(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sum of squares of each term, [terms]; r, [R]; J^T, [T, R]."""
        parts = [term.residuals() for term in self.terms]
        losses = torch.stack([part.square().sum() for part in parts])
        losses = self.process_group.sum(losses * self._factor)
        jacobian = torch.cat([term.jacobian() for term in self.terms], 1)
        return losses, self._gathered(torch.cat(parts)), self._gathered(jacobian)

    def path(self, directions: Sequence[Tensor]) -> list[Tensor]:
        """d^K r / dtau^K of each term along theta + sum_k tau^k directions[k-1] / k! at tau = 0."""
        path = torch.stack(list(directions))
        return [term.path(path)[-1] for term in self.terms]

    def transposed(self, vectors: Sequence[Tensor]) -> Tensor:
        """J^T c, [T], of vectors c of the terms of this process."""
        pairs = zip(self.terms, vectors, strict=True)
        product = torch.stack([term.vjp(vector) for term, vector in pairs]).sum(0)
        return self.process_group.sum(product.mul_(self._factor))

    def together(self, vectors: Sequence[Tensor]) -> Tensor:
        """Vectors of the terms of this process as one of all processes, [R]."""
        return self._gathered(torch.cat(list(vectors)))

    def count(self) -> int:
        """R."""
        mine = sum(term.count() for term in self.terms)
        return int(sum(map(int, self._counts(mine))))

    def _counts(self, mine: int) -> list[Tensor]:
        return self.process_group.gather(torch.tensor(mine))

    def _gathered(self, values: Tensor) -> Tensor:
        """Columns of all processes, in their order: each adds its own to zeros."""
        group = self.process_group
        if group.size == 1:
            return values if self._factor == 1.0 else values * self._factor**0.5
        counts = [int(count) for count in self._counts(values.shape[-1])]
        begin = sum(counts[: group.rank])
        whole = values.new_zeros(*values.shape[:-1], sum(counts))
        whole[..., begin : begin + counts[group.rank]] = values * self._factor**0.5
        return group.sum(whole)
