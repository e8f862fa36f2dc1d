"""Fully connected layer: product, bias and activation in one.

Its autograd is in C++, ``csrc/dense/dense_autograd.cpp``: at small sizes a Function in Python would
cost more than the layer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.activations import NEEDS_PREACTIVATION
from pyneural.ops.calls import by_kernel
from pyneural.ops.registration import empty_gradients, register_derivative, register_reference


def dense(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "linear"
) -> Tensor:
    """Fully connected layer.

        y = f(x W^T + b)

    Gradients reach x, weight and bias, to any order: the first backward is a kernel, further ones
    are torch's own. Under autocast it runs in the lower precision, like
    ``torch.nn.functional.linear``; on the CPU bfloat16 and float16 are summed in float32. Tensors
    that no kernel takes (complex, float8, nested, sparse, distributed, subclasses with
    ``__torch_function__``) go through torch's functions; so does a call that torch records.

    Args:
        x: [..., I], float32, float64, bfloat16 or float16.
        weight: W, [O, I].
        bias: b, [O], or None.
        activation: f: "linear", "relu", "leaky_relu" (0.01), "elu" (1.0), "sigmoid", "tanh",
            "sin", "silu", "gelu" (with erf), "gelu_tanh" or "softplus".

    Returns:
        y, [..., O].

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match, or an unknown activation.

    Example:
        >>> x, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -4.0], [1.0, 1.0]])
        >>> dense(x, weight, activation="relu")
        tensor([[0., 3.]])
    """
    return _dense(x, weight, bias, activation)


_dense = by_kernel("dense", reference.dense, operands=(0, 1, 2))


def empty_with_preactivation(x: Tensor, width: int, activation: str) -> tuple[Tensor, Tensor]:
    """What a layer of this width returns on meta tensors: y and what its backward needs of z."""
    y = x.new_empty(*x.shape[:-1], width)
    return y, torch.empty_like(y) if activation in NEEDS_PREACTIVATION else x.new_empty(0)


def _fake_backward(grad_y, x, weight, bias, saved, activation, output_mask):
    return tuple(empty_gradients(x, (x.shape, weight.shape, weight.shape[:1]), output_mask))


register_reference(
    "dense", reference.dense, lambda x, weight, *_: x.new_empty(*x.shape[:-1], weight.shape[0])
)
register_reference(
    "dense_with_preactivation",
    reference.dense_with_preactivation,
    lambda x, weight, bias, activation: empty_with_preactivation(x, weight.shape[0], activation),
)
register_derivative("dense_backward", reference.dense_backward, _fake_backward, ["saved"])
