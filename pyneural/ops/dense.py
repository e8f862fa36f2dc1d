"""Fully connected layer: product, bias and activation in one."""

from __future__ import annotations

from torch import Tensor

from pyneural.ops import reference


def dense(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "linear"
) -> Tensor:
    """Fully connected layer.

        y = f(x W^T + b)

    Args:
        x: [..., I].
        weight: W, [O, I].
        bias: b, [O], or None.
        activation: f: "linear", "relu", "leaky_relu" (0.01), "elu" (1.0), "sigmoid", "tanh",
            "sin", "silu", "gelu" (with erf), "gelu_tanh" or "softplus".

    Returns:
        y, [..., O].

    Raises:
        ValueError: shapes, dtypes or devices that do not match, or an unknown activation.

    Example:
        >>> import torch
        >>> x, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -4.0], [1.0, 1.0]])
        >>> dense(x, weight, activation="relu")
        tensor([[0., 3.]])
    """
    return reference.dense(x, weight, bias, activation)
