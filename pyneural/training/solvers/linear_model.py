"""Least squares in the linear model of the residuals, damped, in two forms.

Letters: T parameters, R residuals, of all terms and processes; K order of a path.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.ops import damped_cholesky, damped_cholesky_solve
from pyneural.training.checks import check
from pyneural.training.distributed import ProcessGroup
from pyneural.training.least_squares import SquaredTerm
from pyneural.training.memory import as_text, available_memory


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


class LinearModel:
    """The residuals to first order about the present parameters, r + J v, and a damping of v.

    ``factor`` comes before ``step`` and ``correction``, which take its damping.
    """

    residuals: Residuals
    losses: Tensor  # sum of squares of each term, [terms]
    gram: Tensor  # the matrix that is damped
    matrix: str  # its name
    damping: float

    def factor(self, damping: float) -> bool:
        """Factorises the damped matrix; whether it is positive definite to rounding."""
        self.damping = damping
        self._factor, is_definite = damped_cholesky(self.gram, damping)
        return not self.anywhere(not bool(is_definite))

    def why_not(self) -> str:
        """Why ``factor`` has failed."""
        if not bool(self.gram.isfinite().all()):
            return f"{self.matrix} is not finite"
        return (
            f"{self.matrix} + {self.damping:g} I is not positive definite to rounding: "
            "raise damping"
        )

    def anywhere(self, flag: bool) -> bool:
        """Whether the flag is set in any process: all go the same way, or they wait for ever."""
        return self.residuals.process_group.any(flag, self.losses.device)

    def step(self, momentum: Tensor | None) -> Tensor:
        """The v that makes |r + J v|^2 + damping |v - momentum|^2 smallest, [T]."""
        raise NotImplementedError

    def correction(self, vectors: Sequence[Tensor]) -> Tensor:
        """The v that makes |c + J v|^2 + damping |v|^2 smallest, [T], c by terms."""
        raise NotImplementedError

    def reduction(self, step: Tensor) -> float:
        """|r|^2 - |r + J v|^2 for a step v, [T]."""
        raise NotImplementedError

    def steepest(self) -> float:
        """Largest |cosine| of the angle between r and a column of J."""
        raise NotImplementedError

    def largest(self) -> float:
        """Square of the longest column of J."""
        raise NotImplementedError

    def _solve(self, right: Tensor) -> Tensor:
        return damped_cholesky_solve(self._factor, right)


class _Primal(LinearModel):
    """By J^T J + damping I, [T, T]; J itself is never stored."""

    matrix = "J^T J"

    def __init__(self, residuals: Residuals) -> None:
        self.residuals = residuals
        self.losses, self.gradient, self.gram = residuals.gram()

    def step(self, momentum: Tensor | None) -> Tensor:
        drawn = 0.0 if momentum is None else self.damping * momentum
        return self._solve(drawn - self.gradient)

    def correction(self, vectors: Sequence[Tensor]) -> Tensor:
        return -self._solve(self.residuals.transposed(vectors))

    def reduction(self, step: Tensor) -> float:
        return float(-2 * self.gradient.dot(step) - step.dot(self.gram @ step))

    def steepest(self) -> float:
        return _cosine(self.gradient, self.gram.diagonal(), self.losses.sum())

    def largest(self) -> float:
        return float(self.gram.diagonal().max())


class _Dual(LinearModel):
    """By J J^T + damping I, [R, R], for fewer residuals than parameters (Woodbury's identity).

        (J^T J + lambda I)^-1 J^T = J^T (J J^T + lambda I)^-1

    so that nothing is lost to rounding where lambda is small.
    """

    matrix = "J J^T"

    def __init__(self, residuals: Residuals) -> None:
        self.residuals = residuals
        self.losses, self.r, self.transposed = residuals.jacobian()  # [terms], [R], J^T [T, R]
        self.gram = self.transposed.T @ self.transposed

    def step(self, momentum: Tensor | None) -> Tensor:
        if momentum is None:
            return self._least(self.r)
        # With v = momentum + w it is |r + J momentum + J w|^2 + damping |w|^2.
        return momentum + self._least(self.r + momentum @ self.transposed)

    def correction(self, vectors: Sequence[Tensor]) -> Tensor:
        return self._least(self.residuals.together(vectors))

    def reduction(self, step: Tensor) -> float:
        change = step @ self.transposed
        return float(-2 * self.r.dot(change) - change.dot(change))

    def steepest(self) -> float:
        return _cosine(self.transposed @ self.r, self._squares(), self.losses.sum())

    def largest(self) -> float:
        return float(self._squares().max())

    def _least(self, vector: Tensor) -> Tensor:
        return -(self.transposed @ self._solve(vector))

    def _squares(self) -> Tensor:
        return self.transposed.square().sum(1)


def linear_model(
    residuals: Residuals, size: int, device: torch.device, kind: str, remedy: str
) -> LinearModel:
    """That of the smaller matrix.

    Args:
        residuals: of all terms.
        size: T, the number of parameters.
        device: of the matrices.
        kind: of the solver, for errors.
        remedy: for one whose matrices are too large.

    Raises:
        MemoryError: the matrices would not fit into the memory, of any of the processes.
    """
    count = residuals.count()
    primal = count >= size
    # Beside what a term takes: the damped matrix and its factor; or J^T and a copy of it, J J^T.
    terms = max(term.gram_bytes() for term in residuals.terms) + 8 * size**2 * (
        len(residuals.terms) > 1
    )
    needed = terms + 16 * size**2 if primal else 8 * (2 * size * count + 3 * count**2)
    available = available_memory(device)
    too_large = available is not None and needed > available
    check(
        not residuals.process_group.any(too_large, device), f"{kind}: parameters",
        f"matrices that fit into the {as_text(available or 0)} of memory that are free",
        f"{as_text(needed)} for {size} parameters and {count} residuals",
        remedy, MemoryError,
    )  # fmt: skip
    return _Primal(residuals) if primal else _Dual(residuals)


def _cosine(gradient: Tensor, squares: Tensor, square: Tensor) -> float:
    """Largest |J_j . r| / (|J_j| |r|) over the columns that are not 0."""
    scale = (squares * square).sqrt()
    return float(torch.where(scale > 0, gradient.abs() / scale, 0.0).max())
