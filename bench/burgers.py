"""The problem of the jet bench: Burgers' residual through an MLP, its loss and all gradients.

r_n = u_t + u u_x - nu u_xx at (t_n, x_n),   loss = mean_n r_n^2,   nu = 0.01 / pi
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

NU = 0.01 / math.pi
CHANNELS = 4  # u, u_t, u_x, u_xx
COLLAPSED_CHANNELS = 3  # u, u_x, u_t - nu u_xx
# An implementation whose loss or any gradient has a larger relative error is not timed. In float32
# the gradient of a mean over 10,000 residuals of both signs loses up to three of seven digits.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-10}


@dataclass(frozen=True)
class Case:
    """Network of ``depth`` hidden layers of ``width``, 2 inputs, 1 output, and a point count."""

    depth: int
    width: int
    points: int

    @staticmethod
    def parse(text: str, points: int | None) -> Case:
        """Depth and width as in ``4x64``; the default number of points where none is given."""
        try:
            depth, width = (int(part) for part in text.split("x"))
            if min(depth, width, points or 1) < 1:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"case: expected DEPTHxWIDTH and at least 1 point, got {text!r} and {points}; "
                "write 4x64 for 4 hidden layers of width 64"
            ) from None
        return Case(depth, width, points or (8192 if width >= 256 else 10_000))

    @property
    def name(self) -> str:
        return f"{self.depth}x{self.width}"

    def operations(self, channels: int) -> int:
        """Floating-point operations of loss and gradient: 3 x the forward's.

            3 * 2 N sum_l in_l out_l c_l,   c_1 = 1,   c_l = channels for l > 1

        One multiply-add is two operations, and the backward has two products for the forward's
        one. The first layer counts for the value only, since its derivatives are columns of its
        weight. Activations, the residual and any recomputation are not counted.
        """
        sizes = [2, *[self.width] * self.depth, 1]
        products = [i * o for i, o in pairwise(sizes)]
        return 3 * 2 * self.points * (products[0] + channels * sum(products[1:]))


@dataclass(frozen=True)
class Problem:
    """Inputs of one case: x [N, 2] with columns t and x, weights [out, in] and biases [out]."""

    case: Case
    x: Tensor
    weights: list[Tensor]
    biases: list[Tensor]

    @staticmethod
    def random(case: Case, dtype: torch.dtype, device: str, seed: int = 0) -> Problem:
        """Glorot weights, biases that are not zero, points in [0, 1] x [-1, 1]."""
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, scale: float) -> Tensor:
            values = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
            return values.to(device, dtype).requires_grad_()

        sizes = [2, *[case.width] * case.depth, 1]
        weights = [normal(o, i, scale=math.sqrt(2 / (i + o))) for i, o in pairwise(sizes)]
        biases = [normal(o, scale=0.1) for o in sizes[1:]]
        x = torch.rand(case.points, 2, generator=generator, dtype=torch.float64)
        x[:, 1] = 2 * x[:, 1] - 1
        return Problem(case, x.to(device, dtype), weights, biases)

    @property
    def parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases]

    def double(self) -> Problem:
        """The same problem in float64 on the CPU, for the oracle."""

        def upcast(tensor: Tensor) -> Tensor:
            return tensor.detach().double().cpu().requires_grad_(tensor.requires_grad)

        weights, biases = (list(map(upcast, group)) for group in (self.weights, self.biases))
        return Problem(self.case, upcast(self.x), weights, biases)


def mean_square_residual(u: Tensor, u_t: Tensor, u_x: Tensor, u_xx: Tensor) -> Tensor:
    """The loss from the four channels, each [N, 1]."""
    return (u_t + u * u_x - NU * u_xx).square().mean()
