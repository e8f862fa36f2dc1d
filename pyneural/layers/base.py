"""What all layers share: they are built when the shape of their input is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.ops.activations import VALUES

Shape = tuple[int, ...]

_ALIASES = {"swish": "silu", "softmax": "softmax"} | {name: name for name in VALUES}


class Layer(torch.nn.Module):
    """A layer whose weights are made when the shape of its input is known.

    Args:
        input_shape: of one sample, without the batch; for the first layer, if it is known.
    """

    def __init__(self, input_shape: Sequence[int] | None = None) -> None:
        super().__init__()
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self._built_for: Shape | None = None
        self.output_shape: Shape = ()

    def build(self, input_shape: Sequence[int]) -> Shape:
        """Makes the weights for samples of a shape, once; the shape of the output.

        Raises:
            ValueError: a shape that the layer does not take, or another one than the first time.

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
                f"{type(self).__name__}: input_shape: expected {self._built_for} as it was built, "
                f"got {shape}; make another layer"
            )
        return self.output_shape

    def make(self, shape: Shape) -> Shape:
        """Makes the weights for samples of a shape; a subclass says how. The output's shape."""
        raise NotImplementedError(f"{type(self).__name__}.make: write it in the subclass")

    def __call__(self, x: Tensor) -> Tensor:
        """The layer on x [N, ...]; the first call builds it."""
        if self._built_for is None:
            self.build(x.shape[1:])
            self.to(x.device, x.dtype if x.is_floating_point() else None)
        return super().__call__(x)

    def expect(self, shape: Shape, dimensions: int, what: str) -> None:
        """Refuses samples of another number of dimensions."""
        if len(shape) != dimensions:
            raise ValueError(
                f"{type(self).__name__}: input_shape: expected {what}, got {shape}; "
                "put layers.Reshape or layers.Flatten before it"
            )


def apply_activation(activation: str, x: Tensor) -> Tensor:
    """The activation of x, for a name that ``checked_activation`` gave."""
    return torch.softmax(x, -1) if activation == "softmax" else VALUES[activation](x)


def start(layer: Any) -> None:
    """Keras' initial weights: Glorot uniform and zero."""
    torch.nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        torch.nn.init.zeros_(layer.bias)


def checked_activation(where: str, activation: str | None) -> str:
    """The name of an activation as the ops spell it."""
    if activation is None:
        return "linear"
    if activation not in _ALIASES:
        raise ValueError(
            f"{where}: activation: expected one of {', '.join(_ALIASES)}, got {activation!r}; "
            "choose one of these"
        )
    return _ALIASES[activation]


def positive(where: str, argument: str, value: int) -> int:
    """A number of units, if it is one."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(
            f"{where}: {argument}: expected a whole number >= 1, got {value!r}; correct it"
        )
    return value
