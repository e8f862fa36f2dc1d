"""A step of Adadelta in plain torch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def adadelta_(
    parameters: Sequence[Tensor], gradients: Sequence[Tensor], squares: Sequence[Tensor],
    changes: Sequence[Tensor], steps: Sequence[Tensor], learning_rate: float, rho: float,
    epsilon: float, weight_decay: float,
) -> None:  # fmt: skip
    """Changes parameters, squares and changes in place, and adds one to the steps.

    s <- rho s + (1 - rho) g^2,  d = sqrt((u + epsilon) / (s + epsilon)) g
    u <- rho u + (1 - rho) d^2,  w <- w - learning_rate d
    """
    for w, g, s, u in zip(parameters, gradients, squares, changes, strict=True):
        if weight_decay != 0:
            g = g + weight_decay * w
        s.mul_(rho).addcmul_(g, g, value=1 - rho)
        d = ((u + epsilon) / (s + epsilon)).sqrt() * g
        u.mul_(rho).addcmul_(d, d, value=1 - rho)
        w.sub_(learning_rate * d)
    for step in steps:
        step.add_(1)
