"""What a search for a damping asks of the linear model of residuals.

Letters: T parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pyneural.training.solvers.residuals import Residuals


class LinearModel:
    """The residuals to first order about the present parameters, r + J v, and a damping of v.

    ``factor`` comes before ``step`` and ``correction``, which take its damping.
    """

    residuals: Residuals
    losses: Tensor  # sum of squares of each term, [terms]
    damping: float

    def factor(self, damping: float) -> bool:
        """Takes over a damping; whether the equations have a solution to rounding."""
        raise NotImplementedError

    def refine(self) -> bool:
        """Allows for costlier equations; whether a damping was lost in rounding without them."""
        return False

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
