"""Dense layer, activation, and layers that change the shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import nn
from pyneural.layers.base import Layer, Shape, apply_activation, checked_activation, glorot_uniform_
from pyneural.layers.regularizers import penalty_of
from pyneural.nn.linear import LinearEquivalent


class Input(Layer):
    """Placeholder that gives the shape of the first layer's input.

    >>> Input((28, 28, 1)).input_shape
    (28, 28, 1)
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape)
        self.shape = tuple(map(int, shape))

    def forward(self, x: Tensor) -> Tensor:
        """The input itself."""
        return x


class Dense(Layer, LinearEquivalent):
    """Fully connected layer over the last dimension, y = f(x W^T + b).

    Args:
        units: number of outputs.
        activation: f: any activation of ``nn.Linear``, "softmax", or None for the identity.
        use_bias: whether to add the bias b.
        kernel_regularizer: "l2", a factor or (l1, l2): see ``layers.regularizers``.
        bias_regularizer: likewise.
        input_shape: shape of one sample.

    Raises:
        ValueError: fewer than one unit, or an unknown activation.

    >>> Dense(4, activation="relu")(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        use_bias: bool = True,
        *,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(input_shape)
        self.kernel_regularizer = penalty_of("Dense: kernel_regularizer", kernel_regularizer)
        self.bias_regularizer = penalty_of("Dense: bias_regularizer", bias_regularizer)
        self.units = self.positive("units", units)
        self.activation = checked_activation(self, activation)
        self.use_bias = use_bias

    def make(self, shape: Shape) -> Shape:
        """Weight [units, I] and bias [units] for samples [..., I]."""
        if not shape:
            self.expect(shape, 1, "at least one dimension")
        fused = "linear" if self.activation == "softmax" else self.activation
        self.linear = nn.Linear(shape[-1], self.units, self.use_bias, activation=fused)
        glorot_uniform_(self.linear)
        return (*shape[:-1], self.units)

    def _regularised(self) -> list[Tensor | None]:
        return [self.linear.weight, self.linear.bias]

    def equivalent_linear(self) -> nn.Linear | None:
        """The linear layer; None before it is built, and with softmax."""
        return self.linear if self.output_shape and self.activation != "softmax" else None

    def forward(self, x: Tensor) -> Tensor:
        """From [N, ..., I] to [N, ..., units]."""
        y = self.linear(x)
        return torch.softmax(y, -1) if self.activation == "softmax" else y


class Activation(Layer):
    """An activation as a layer of its own.

    >>> Activation("relu")(torch.tensor([[-1.0, 2.0]]))
    tensor([[0., 2.]])
    """

    def __init__(self, activation: str, *, input_shape: Sequence[int] | None = None) -> None:
        super().__init__(input_shape)
        self.activation = checked_activation(self, activation)

    def forward(self, x: Tensor) -> Tensor:
        """The activation of x."""
        return apply_activation(self.activation, x)


class Flatten(Layer):
    """Flattens each sample to a vector.

    >>> Flatten()(torch.zeros(2, 4, 4, 3)).shape
    torch.Size([2, 48])
    """

    def make(self, shape: Shape) -> Shape:
        """A single dimension."""
        return (math.prod(shape),)

    def forward(self, x: Tensor) -> Tensor:
        """From [N, ...] to [N, I]."""
        return x.flatten(1)


class Reshape(Layer):
    """Reshapes each sample; one size may be -1.

    >>> Reshape((4, -1))(torch.zeros(2, 12)).shape
    torch.Size([2, 4, 3])
    """

    def __init__(
        self, target_shape: Sequence[int], *, input_shape: Sequence[int] | None = None
    ) -> None:
        super().__init__(input_shape)
        self.target_shape = tuple(map(int, target_shape))

    def make(self, shape: Shape) -> Shape:
        """The target shape, with -1 resolved."""
        try:
            return tuple(torch.empty(shape, device="meta").reshape(self.target_shape).shape)
        except RuntimeError:
            raise ValueError(
                f"Reshape: target_shape: expected {math.prod(shape)} elements as in {shape}, got "
                f"{self.target_shape}; one size may be -1, to be inferred"
            ) from None

    def forward(self, x: Tensor) -> Tensor:
        """From [N, ...] to [N, *target_shape]."""
        return x.reshape(len(x), *self.output_shape)
