"""A step of the optimiser Adadelta, in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.calls import in_place
from pyneural.ops.registration import register_reference

_adadelta = in_place("adadelta_")


def adadelta_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    squares: Sequence[Tensor],
    changes: Sequence[Tensor],
    steps: Sequence[Tensor] = (),
    *,
    learning_rate: float,
    rho: float = 0.9,
    epsilon: float = 1e-6,
    weight_decay: float = 0.0,
) -> None:
    """Changes parameters, and the averages that belong to them, by a step of Adadelta.

        g = gradient + weight_decay w
        s <- rho s + (1 - rho) g^2
        d  = sqrt((u + epsilon) / (s + epsilon)) g
        u <- rho u + (1 - rho) d^2
        w <- w - learning_rate d

    From Zeiler, ADADELTA: an adaptive learning rate method (2012), where learning_rate is 1. On
    CUDA one launch of a kernel takes up to 80 parameters.

    Args:
        parameters: w, on one device, contiguous, float32 or float64.
        gradients: like the parameters.
        squares: s, averages of the squared gradients, like the parameters, zero at the start.
        changes: u, averages of the squared changes, like the parameters, zero at the start.
        steps: counts, which rise by one: scalars on the CPU, float32 or float64.
        learning_rate: factor on the change.
        rho: how much of the averages stays.
        epsilon: keeps the first changes from being zero.
        weight_decay: factor of an L2 penalty.

    Raises:
        ValueError: tensors that are not as said.

    >>> import torch
    >>> w, s, u = torch.ones(3), torch.zeros(3), torch.zeros(3)
    >>> adadelta_([w], [torch.ones(3)], [s], [u], learning_rate=1.0)
    >>> bool((w < 1).all())
    True
    """
    _adadelta(
        parameters, gradients, squares, changes, steps, learning_rate, rho, epsilon, weight_decay
    )


register_reference("adadelta_", reference.adadelta_)
