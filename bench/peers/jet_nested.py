"""torch eager, nested autograd with double backward: what most PINN codes do, in two forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from bench.burgers import Problem, mean_square_residual
from bench.harness import Implementation


def network(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """The MLP with tanh in plain torch, [N, 2] -> [N, 1]."""
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = torch.tanh(linear(x, weight, bias))
    return linear(x, weights[-1], biases[-1])


def derivative(value: Tensor, x: Tensor) -> Tensor:
    """The derivative of value_n at x_n for each point, itself differentiable."""
    return torch.autograd.grad(value, x, torch.ones_like(value), create_graph=True)[0]


def build(problem: Problem) -> Callable[[], tuple[Tensor, Sequence[Tensor]]]:
    """The fewest passes: one backward gives u_t and u_x, a second u_xx, a third the gradients."""
    x = problem.x.clone().requires_grad_()

    def call() -> tuple[Tensor, Sequence[Tensor]]:
        u = network(x, problem.weights, problem.biases)
        u_t, u_x = derivative(u, x).split(1, dim=1)
        u_xx = derivative(u_x, x)[:, 1:]
        loss = mean_square_residual(u, u_t, u_x, u_xx)
        return loss, torch.autograd.grad(loss, problem.parameters)

    return call


def build_each(problem: Problem) -> Callable[[], tuple[Tensor, Sequence[Tensor]]]:
    """With t and x as separate tensors: one backward for each of u_t, u_x, u_xx."""
    t, x = (column.clone().requires_grad_() for column in problem.x.split(1, dim=1))

    def call() -> tuple[Tensor, Sequence[Tensor]]:
        u = network(torch.cat([t, x], 1), problem.weights, problem.biases)
        u_t, u_x = derivative(u, t), derivative(u, x)
        loss = mean_square_residual(u, u_t, u_x, derivative(u_x, x))
        return loss, torch.autograd.grad(loss, problem.parameters)

    return call


IMPLEMENTATIONS = [
    Implementation("torch eager, nested autograd", "eager", build),
    Implementation("torch eager, nested, one by one", "eager", build_each),
]
