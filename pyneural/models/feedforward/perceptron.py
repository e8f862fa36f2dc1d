"""Multilayer perceptron with an explicit backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor

from pyneural.errors import whole
from pyneural.nn import Linear
from pyneural.ops.activations import derivatives
from pyneural.training.losses import quadratic_cost


class MultilayerPerceptron(torch.nn.Module):
    """Layers of perceptrons: weights, biases, activation.

        a_0 = x,  z_l = a_(l-1) W_l^T + b_l,  a_l = f(z_l),  l = 1 .. L,  y = a_L

    A weight sets how sensitive a neuron is to an input, a bias shifts its threshold, and the
    activation turns it on or off. A network with a single layer is a perceptron.

    Args:
        widths: layer widths, [inputs, hidden ..., outputs].
        activation: f, any activation of ``ops.jet_mlp``.

    Raises:
        ValueError: fewer than two widths, or an unknown activation.

    >>> network = MultilayerPerceptron([3, 4, 3, 1])
    >>> sum(parameter.numel() for parameter in network.parameters())
    35
    """

    def __init__(self, widths: Sequence[int], activation: str = "sigmoid") -> None:
        super().__init__()
        widths = [whole("MultilayerPerceptron: widths", width) for width in widths]
        if len(widths) < 2:
            raise ValueError(
                f"MultilayerPerceptron: widths: expected inputs, ..., outputs, got {list(widths)}; "
                "[3, 1] is a perceptron"
            )
        self.activation = activation
        self.layers = torch.nn.ModuleList(
            Linear(before, after, activation=activation) for before, after in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Output y [N, O] for x [N, I]."""
        return self.activations(x)[-1]

    def activations(self, x: Tensor) -> list[Tensor]:
        """[a_0, a_1, ..., a_L], each [N, width]."""
        values = [x]
        for layer in self.layers:
            values.append(layer(values[-1]))
        return values

    @torch.no_grad()
    def backpropagate(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """Gradient of the cost C = 1/2 sum (y - a_L)^2 by the equations of backpropagation.

            d_L = (a_L - y) f'(z_L)
            d_l = (d_(l+1) W_(l+1)) f'(z_l)
            dC/dW_l = d_l^T a_(l-1),  dC/db_l = sum_n d_l

        The equations of Nielsen, Neural Networks and Deep Learning (2015), chapter 2, summed over
        all samples.

        Args:
            x: inputs, [N, I].
            y: targets, [N, O].

        Returns:
            [dC/dW_1, dC/db_1, ..., dC/dW_L, dC/db_L], in the order of ``parameters()``.

        >>> network, x, y = MultilayerPerceptron([2, 3, 1]), torch.rand(5, 2), torch.rand(5, 1)
        >>> network.cost(x, y).backward()
        >>> by_hand = network.backpropagate(x, y)
        >>> all(torch.allclose(g, p.grad) for g, p in zip(by_hand, network.parameters()))
        True
        """
        values, layers = self.activations(x), cast("list[Linear]", list(self.layers))
        arriving = values[-1] - y  # dC/da_l, [N, width]
        gradients: list[Tensor] = []
        for layer, before in zip(reversed(layers), reversed(values[:-1]), strict=True):
            z = torch.nn.functional.linear(before, layer.weight, layer.bias)
            delta = arriving * derivatives(self.activation, z, 1)[1]
            gradients = [delta.T @ before, delta.sum(0), *gradients]
            arriving = delta @ layer.weight
        return gradients

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        """C = 1/2 sum (y - a_L)^2 over samples and outputs, []; ValueError for another shape."""
        a = self(x)
        if y.shape != a.shape:
            raise ValueError(
                f"cost: y: expected the shape of the output, {list(a.shape)}, got {list(y.shape)}; "
                "reshape it"
            )
        return quadratic_cost(a, y).sum()
