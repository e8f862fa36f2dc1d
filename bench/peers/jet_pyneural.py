"""pyneural itself: the one-pass loss, and the jet with the residual and backward of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.burgers import NU, Problem, mean_square_residual
from bench.harness import Implementation

DERIVATIVES = ((0,), (1,), (1, 1))  # u_t, u_x, u_xx


class _Network:
    """The problem's network, as ``pde.Equation`` takes it."""

    def __init__(self, problem: Problem) -> None:
        self.parameters = problem.weights, problem.biases, "tanh"

    def jet_loss(self, x: Tensor, *program: Any) -> Tensor:
        from pyneural import ops

        return ops.jet_mlp_loss(x, *self.parameters, *program)


def build_one_pass(problem: Problem) -> Callable[[], tuple[Tensor, Sequence[Tensor]]]:
    from pyneural import pde

    burgers, network = pde.Burgers(NU), _Network(problem)

    def call() -> tuple[Tensor, Sequence[Tensor]]:
        loss = burgers.loss(network, problem.x)
        return loss, torch.autograd.grad(loss, problem.parameters)

    return call


def build_two_calls(problem: Problem) -> Callable[[], tuple[Tensor, Sequence[Tensor]]]:
    from pyneural import ops

    def call() -> tuple[Tensor, Sequence[Tensor]]:
        channels = ops.jet_mlp(problem.x, problem.weights, problem.biases, "tanh", DERIVATIVES)
        loss = mean_square_residual(*channels)
        return loss, torch.autograd.grad(loss, problem.parameters)

    return call


IMPLEMENTATIONS = [
    Implementation("pyneural, one pass", "pyneural", build_one_pass),
    Implementation("pyneural, jet + torch", "pyneural", build_two_calls),
]
