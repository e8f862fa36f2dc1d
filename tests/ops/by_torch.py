"""Oracles: the ops by torch's own functions, and second derivatives by nested autograd.

Nothing here is of ``pyneural``: its references are kernels and derivatives themselves, and what
tests them must be another formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sin": torch.sin,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "softplus": F.softplus,
    "linear": lambda z: z,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
}


def dense(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    return ACTIVATIONS[activation](F.linear(x, weight, bias))


def mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    final_activation: str = "linear",
) -> Tensor:
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = dense(x, weight, bias, activation)
    return dense(x, weights[-1], biases[-1], final_activation)


def second_derivatives(
    function: Callable[..., Tensor], tensors: Sequence[Tensor], needed: Sequence[bool] | None = None
) -> list[Tensor]:
    """Of a random function of the value and of the gradients of ``function(*tensors)``.

    Gradients for the tensors that are needed and for the gradient of the value, which is a tensor
    too; the others are frozen.
    """
    needed = [True] * len(tensors) if needed is None else needed
    copies = [
        tensor.detach().clone().requires_grad_(need)
        for tensor, need in zip(tensors, needed, strict=True)
    ]
    leaves = [tensor for tensor in copies if tensor.requires_grad]
    generator = torch.Generator().manual_seed(1)

    def random_sum(tensor: Tensor) -> Tensor:
        random = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        return (tensor.square() * random.to(tensor)).sum()

    y = function(*copies)
    grad_y = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y).requires_grad_()
    gradients = torch.autograd.grad(y, leaves, grad_y, create_graph=True)
    total = random_sum(y) + sum(random_sum(gradient) for gradient in gradients)
    return list(torch.autograd.grad(total, [*leaves, grad_y], materialize_grads=True))
