"""Taylor mode in plain torch, written out for Burgers' four channels, under ``torch.compile``.

Each channel has its own matrix product in every layer, which measures faster on the CPU than one
product of all four stacked. Both all points at once and blocks of points are timed, since
which is faster depends on the width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import linear

from bench.burgers import Problem, mean_square_residual
from bench.harness import Implementation

BLOCK = 1000


def activate(z: Tensor, z_t: Tensor, z_x: Tensor, z_xx: Tensor) -> tuple[Tensor, ...]:
    """The channels of tanh(z), each [N, W]."""
    a = torch.tanh(z)
    slope = 1 - a * a
    return a, slope * z_t, slope * z_x, slope * (z_xx - 2 * a * z_x * z_x)


def taylor_loss(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """The loss, one product for each channel and layer."""
    z = linear(x, weights[0], biases[0])
    z_t, z_x = (weights[0][:, i].expand_as(z) for i in range(2))
    channels = activate(z, z_t, z_x, torch.zeros_like(z))
    for i in range(1, len(weights)):
        value, *derivatives = channels
        channels = (
            linear(value, weights[i], biases[i]),
            *(linear(derivative, weights[i]) for derivative in derivatives),
        )
        if i < len(weights) - 1:
            channels = activate(*channels)
    return mean_square_residual(*channels)


def build(
    compiled: bool, block: int | None, problem: Problem
) -> Callable[[], tuple[Tensor, Sequence[Tensor]]]:
    loss_function: Callable[..., Tensor] = taylor_loss
    if compiled:
        # CUDA graphs take away the launches; on the CPU the mode changes nothing that was measured.
        mode = "reduce-overhead" if problem.x.is_cuda else None
        loss_function = torch.compile(taylor_loss, fullgraph=True, dynamic=False, mode=mode)
    parameters = problem.parameters
    blocks = problem.x.split(block or len(problem.x))

    def call() -> tuple[Tensor, Sequence[Tensor]]:
        total, sums = torch.zeros((), device=problem.x.device, dtype=problem.x.dtype), None
        for x in blocks:
            loss = loss_function(x, problem.weights, problem.biases)
            share = len(x) / len(problem.x)
            gradients = torch.autograd.grad(loss, parameters, torch.full_like(loss, share))
            total = total + share * loss.detach()
            if sums is None:
                sums = [g.clone() for g in gradients] if len(blocks) > 1 else gradients
            else:
                torch._foreach_add_(sums, gradients)
        return total, sums

    return call


IMPLEMENTATIONS = [
    Implementation("torch eager, Taylor", "eager", partial(build, False, None)),
    Implementation("torch.compile, Taylor", "compile", partial(build, True, None), compiles=True),
    Implementation(
        f"torch.compile, Taylor, blocks of {BLOCK:,}",
        "compile",
        partial(build, True, BLOCK),
        compiles=True,
    ),
]
