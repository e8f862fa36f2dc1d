"""Sparsely connected layer: only the edges of a fixed mask are stored, multiplied and trained.

Its autograd is in ``csrc/masked_dense/masked_dense_autograd.cpp``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.calls import by_kernel
from pyneural.ops.dense import empty_with_preactivation
from pyneural.ops.registration import empty_gradients, register_derivative, register_reference
from pyneural.ops.transforms import by_autocast


@dataclass(frozen=True)
class SparsityPattern:
    """The edges of a sparsely connected layer, output by output (compressed sparse rows).

    Args:
        starts: [O + 1]: the edges of output o are those from starts[o] to starts[o + 1].
        inputs: [E], the input that each edge comes from, in rising order for each output.

    >>> mask = torch.tensor([[True, False, True], [False, True, True]])
    >>> pattern = SparsityPattern.from_mask(mask)
    >>> pattern.starts.tolist(), pattern.inputs.tolist()
    ([0, 2, 4], [0, 2, 1, 2])
    """

    starts: Tensor
    inputs: Tensor

    @staticmethod
    def from_mask(mask: Tensor) -> SparsityPattern:
        """The edges where a mask [O, I] of dtype bool is True.

        Raises:
            ValueError: something else than a matrix of bool.
        """
        if mask.dim() != 2 or mask.dtype != torch.bool:
            raise ValueError(
                f"SparsityPattern.from_mask: mask: expected [outputs, inputs] of torch.bool, got "
                f"{list(mask.shape)} of {mask.dtype}; compare with zero: mask != 0"
            )
        starts = torch.nn.functional.pad(mask.sum(1).cumsum(0), (1, 0))
        return SparsityPattern(starts, mask.nonzero()[:, 1].contiguous())


def masked_dense(
    x: Tensor,
    values: Tensor,
    pattern: SparsityPattern,
    bias: Tensor | None = None,
    activation: str = "linear",
) -> Tensor:
    """Sparsely connected layer.

        y_o = f(sum over the edges e of output o of values_e x_(inputs_e) + b_o)

    On the CPU it does 2 E operations a row where a dense layer does 2 I O; on CUDA it multiplies
    dense tiles, whose weights are looked up as they are needed. Absent edges have neither a weight
    nor a gradient. Gradients reach x, values and bias, to any order: the first backward is a
    kernel, further ones are plain torch.

    Args:
        x: [..., I], float32 or float64; others, and all under autocast, are multiplied by the
            dense matrix.
        values: weights of the E edges, in the order of the pattern.
        pattern: which inputs each output is connected to.
        bias: b, [O], or None.
        activation: as in ``dense``.

    Returns:
        y, [..., O].

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match, an input that x does not have,
            or an unknown activation. On CUDA an input that x does not have stops the kernel, as an
            index that is out of bounds does in torch.

    Example:
        >>> pattern = SparsityPattern.from_mask(torch.tensor([[True, False], [True, True]]))
        >>> masked_dense(torch.tensor([[1.0, 2.0]]), torch.tensor([3.0, 4.0, 5.0]), pattern)
        tensor([[ 3., 14.]])
    """
    arguments = x, values, pattern.starts, pattern.inputs, bias, activation
    if by_autocast(x.device.type):
        return reference.masked_dense(*arguments)
    return _masked_dense(*arguments)[0]


_masked_dense = by_kernel(
    "masked_dense",
    lambda *arguments: (reference.masked_dense(*arguments), None),
    operands=(0, 1, 4),
    dtypes=(torch.float32, torch.float64),
)


def _fake(x, values, starts, inputs, bias, activation):
    return empty_with_preactivation(x, starts.shape[0] - 1, activation)


def _fake_backward(grad_y, x, values, starts, inputs, bias, saved, activation, with_grad_x):
    shapes = x.shape, values.shape, starts.shape[0] - 1
    return tuple(empty_gradients(x, shapes, (with_grad_x, True, True)))


register_reference("masked_dense", reference.masked_dense_with_preactivation, _fake)
register_derivative(
    "masked_dense_backward", reference.masked_dense_backward, _fake_backward, ["saved"]
)
