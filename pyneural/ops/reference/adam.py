"""A step of Adam and AdamW in plain torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor


def adam_(
    parameters: Sequence[Tensor], gradients: Sequence[Tensor], averages: Sequence[Tensor],
    squares: Sequence[Tensor], steps: Sequence[Tensor], learning_rate: float, beta1: float,
    beta2: float, epsilon: float, weight_decay: float, decoupled: bool,
) -> None:  # fmt: skip
    """Adds one to the steps, and changes averages, squares and parameters in place.

    m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2
    w <- w - learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)
    """
    lists = (parameters, gradients, averages, squares, steps)
    for w, g, m, v, step in zip(*lists, strict=True):
        t = float(step.add_(1))
        if decoupled:
            w.mul_(1 - learning_rate * weight_decay)
        elif weight_decay != 0:
            g = g + weight_decay * w
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        root = v.sqrt() / math.sqrt(1 - beta2**t)
        w.sub_(learning_rate / (1 - beta1**t) * m / (root + epsilon))
