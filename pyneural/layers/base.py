"""Base class of the Keras-style layers, which are built once their input shape is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.ops.activations import VALUES, check_activation

Shape = tuple[int, ...]

# What Keras calls some activations; softmax is none of the ops'.
_ALIASES = {None: "linear", "swish": "silu", "softmax": "softmax"}


class Layer(torch.nn.Module):
    """A layer whose weights are created once the shape of its input is known.

    Args:
        input_shape: shape of one sample, without the batch dimension; optional, for the first layer
            of a model.
    """

    def __init__(self, input_shape: Sequence[int] | None = None) -> None:
        super().__init__()
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self._built_for: Shape | None = None
        self.output_shape: Shape = ()

    def build(self, input_shape: Sequence[int]) -> Shape:
        """Creates the weights for samples of a shape, once, and returns the output shape.

        Raises:
            ValueError: a shape that the layer does not accept, or one that differs from the shape
                for which it was built.

        >>> from pyneural.layers import Dense
        >>> Dense(3).build((5,))
        (3,)
        """
        shape = tuple(input_shape)
        if self._built_for is None:
            self.output_shape = self.make(shape)
            self._built_for = shape
        elif shape != self._built_for:
            raise ValueError(
                f"{type(self).__name__}: input_shape: expected {self._built_for}, for which "
                f"the layer was built, got {shape}; create another layer"
            )
        return self.output_shape

    def make(self, shape: Shape) -> Shape:
        """Creates the weights for samples of a shape; returns the output shape, here the same."""
        return shape

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer to x [N, ...]; the first call builds it."""
        if self._built_for is None:
            self.build(x.shape[1:])
            self.to(x.device, x.dtype if x.is_floating_point() else None)
        return super().__call__(x)

    def positive(self, argument: str, value: int) -> int:
        """The value if it is a positive integer; otherwise ValueError."""
        if not isinstance(value, int) or value < 1:
            raise ValueError(
                f"{type(self).__name__}: {argument}: expected an integer >= 1, got {value!r}; "
                "correct it"
            )
        return value

    def expect(self, shape: Shape, dimensions: int, what: str) -> None:
        """ValueError unless samples have this number of dimensions."""
        if len(shape) != dimensions:
            raise ValueError(
                f"{type(self).__name__}: input_shape: expected {what}, got {shape}; "
                "insert layers.Reshape or layers.Flatten before this layer"
            )


def checked_activation(layer: Layer, activation: str | None) -> str:
    """The name that the ops know an activation by; ValueError for an unknown one."""
    return check_activation(type(layer).__name__, activation, _ALIASES)


def apply_activation(activation: str, x: Tensor) -> Tensor:
    """The activation of x, by a name from ``checked_activation``."""
    return torch.softmax(x, -1) if activation == "softmax" else VALUES[activation](x)


def glorot_uniform_(layer: Any) -> None:
    """Initialises as Keras does: the weight Glorot uniform, the bias with zero."""
    torch.nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        torch.nn.init.zeros_(layer.bias)
