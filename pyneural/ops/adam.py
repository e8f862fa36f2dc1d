"""A step of the optimisers Adam and AdamW, in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.calls import in_place
from pyneural.ops.registration import register_reference

_adam = in_place("adam_")


def adam_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    averages: Sequence[Tensor],
    squares: Sequence[Tensor],
    steps: Sequence[Tensor],
    *,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """Changes parameters, and the averages that belong to them, by step t of Adam.

        g = gradient + weight_decay w
        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        w <- w - learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)

    From Kingma and Ba, Adam: a method for stochastic optimization (2015). With a decoupled decay
    (AdamW; Loshchilov and Hutter, 2019) g is the gradient, and w is first multiplied by
    1 - learning_rate weight_decay.

    Args:
        parameters: w, on one device, contiguous, float32 or float64.
        gradients: like the parameters.
        averages: m, averages of the gradients, like the parameters, zero at the start.
        squares: v, averages of the squared gradients, like the parameters, zero at the start.
        steps: counts t, which first rise by one: scalars on the CPU, float32 or float64, zero at
            the start.
        learning_rate: about how much an element changes in a step.
        beta1: how much of the averages stays.
        beta2: how much of the averaged squares stays.
        epsilon: keeps the changes of elements without gradients small.
        weight_decay: factor of an L2 penalty, or of the decoupled decay.
        decoupled: whether the decay is decoupled from the gradient.

    Raises:
        ValueError: tensors that are not as said.

    >>> import torch
    >>> w, m, v, t = torch.ones(3), torch.zeros(3), torch.zeros(3), torch.zeros(())
    >>> adam_([w], [torch.full((3,), 0.2)], [m], [v], [t], learning_rate=0.1)
    >>> w, t
    (tensor([0.9000, 0.9000, 0.9000]), tensor(1.))
    """
    _adam(
        parameters, gradients, averages, squares, steps, learning_rate, beta1, beta2, epsilon,
        weight_decay, decoupled,
    )  # fmt: skip


register_reference("adam_", reference.adam_)
