"""``torch.func.jvp``: forward mode over forward mode for u_xx, reverse for the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.func import jvp

from bench.burgers import Problem, mean_square_residual
from bench.harness import Implementation
from bench.peers.jet_nested import network


def loss(
    x: Tensor, e_t: Tensor, e_x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> Tensor:
    """The loss; e_t and e_x [N, 2] are the directions of t and x."""

    def u_of(points: Tensor) -> Tensor:
        return network(points, weights, biases)

    def u_and_u_x(points: Tensor) -> tuple[Tensor, Tensor]:
        return jvp(u_of, (points,), (e_x,))

    _, u_t = jvp(u_of, (x,), (e_t,))
    (u, u_x), (_, u_xx) = jvp(u_and_u_x, (x,), (e_x,))
    return mean_square_residual(u, u_t, u_x, u_xx)


def build(compiled: bool, problem: Problem) -> Callable[[], tuple[Tensor, Sequence[Tensor]]]:
    function = torch.compile(loss, dynamic=False) if compiled else loss
    e_t, e_x = (torch.zeros_like(problem.x) for _ in range(2))
    e_t[:, 0] = 1
    e_x[:, 1] = 1

    def call() -> tuple[Tensor, Sequence[Tensor]]:
        value = function(problem.x, e_t, e_x, problem.weights, problem.biases)
        return value, torch.autograd.grad(value, problem.parameters)

    return call


IMPLEMENTATIONS = [
    Implementation("torch.func jvp, eager", "func", partial(build, False)),
    Implementation("torch.func jvp, torch.compile", "compile", partial(build, True), compiles=True),
]
