"""pyneural itself: the one-pass loss, and the jet with the residual and backward of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bench.burgers import NU, Problem, mean_square_residual
from bench.harness import Implementation

DERIVATIVES = ((0,), (1,), (1, 1))  # u_t, u_x, u_xx
RESIDUAL = (
    "channel 0 0; channel 1 0; channel 2 0; channel 3 0; "
    f"mul 0 2; add 1 4; const {NU!r}; mul 6 3; sub 5 7; residual 8"
)


def build_one_pass(problem: Problem) -> Callable[[], tuple[Tensor, Sequence[Tensor]]]:
    from pyneural import ops

    def call() -> tuple[Tensor, Sequence[Tensor]]:
        loss = ops.jet_mlp_loss(
            problem.x, problem.weights, problem.biases, "tanh", DERIVATIVES, RESIDUAL
        )
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
