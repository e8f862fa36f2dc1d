"""Random networks and points for the tests of the ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

SMOOTH = ("tanh", "sin", "sigmoid", "silu", "gelu", "gelu_tanh", "softplus")
KINKED = ("linear", "relu", "leaky_relu", "elu")


@dataclass(frozen=True)
class Network:
    x: Tensor  # [N, D]
    weights: list[Tensor]
    biases: list[Tensor]

    @staticmethod
    def random(
        widths: Sequence[int],
        points: int,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
        seed: int = 0,
    ) -> Network:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
            return drawn.to(device, dtype)

        weights = [normal(after, before) * before**-0.5 for before, after in pairwise(widths)]
        biases = [0.3 * normal(after) for after in widths[1:]]
        return Network(normal(points, widths[0]), weights, biases)

    @property
    def parts(self) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """x, weights, biases: the first arguments of every op."""
        return self.x, self.weights, self.biases

    @property
    def tensors(self) -> list[Tensor]:
        """x, *weights, *biases."""
        return [self.x, *self.weights, *self.biases]

    def of(self, tensors: Sequence[Tensor]) -> Network:
        """The same network with other tensors, in the order of ``tensors``."""
        layers = len(self.weights)
        x, *parameters = tensors
        return replace(self, x=x, weights=parameters[:layers], biases=parameters[layers:])

    def map(self, function: Callable[[Tensor], Tensor]) -> Network:
        return self.of([function(tensor) for tensor in self.tensors])

    def leaves(self) -> Network:
        """Copies that require a gradient."""
        return self.map(lambda tensor: tensor.detach().clone().requires_grad_())


def jet(function: Callable, network: Network, activation: str, derivatives: Sequence) -> Tensor:
    """The tuple that an op or reference returns as one tensor, [1 + K, N, O]."""
    return torch.stack(function(*network.parts, activation, derivatives))


def gradients(output: Tensor, network: Network, grad_output: Tensor) -> list[Tensor]:
    """Gradients for x and for all parameters in one; zeros for what has no influence."""
    found = torch.autograd.grad(output, network.tensors, grad_output, materialize_grads=True)
    # One tensor for the parameters: rounding shows against the whole gradient, while a single bias
    # may have a gradient that is small only because large terms cancel.
    return [found[0], torch.cat([grad.flatten() for grad in found[1:]])]
