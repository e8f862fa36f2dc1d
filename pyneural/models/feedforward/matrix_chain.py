"""A network as a chain of matrix products, with and without activations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor

from pyneural.errors import whole
from pyneural.nn import Linear


class MatrixChain(torch.nn.Module):
    """Network as a chain of matrix products.

        y = f(f(f(x W_1 + b_1) W_2 + b_2) W_3 + b_3)

    Without f the network is equivalent to one matrix and one bias, whatever its depth:

        y = x (W_1 W_2 W_3) + (b_1 W_2 W_3 + b_2 W_3 + b_3)

    Args:
        widths: layer widths, [inputs, hidden ..., outputs]; neighbours give the matrices' shapes.
        activation: f, any activation of ``ops.dense``; "linear" for none.

    Raises:
        ValueError: an unknown activation.

    >>> chain = MatrixChain([3, 5, 2, 1])
    >>> [tuple(matrix.shape) for matrix in chain.matrices()]
    [(3, 5), (5, 2), (2, 1)]
    >>> weight, bias = chain.collapsed()
    >>> x = torch.rand(10, 3)
    >>> torch.allclose(chain(x), x @ weight + bias, atol=1e-6)
    True
    """

    def __init__(self, widths: Sequence[int], activation: str = "linear") -> None:
        super().__init__()
        widths = [whole("MatrixChain: widths", width) for width in widths]
        self.layers = torch.nn.ModuleList(
            Linear(before, after, activation=activation) for before, after in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Output y [N, O] for x [N, I]."""
        for layer in self.layers:
            x = layer(x)
        return x

    def matrices(self) -> list[Tensor]:
        """W_1, W_2, ..., each [layer inputs, layer outputs]."""
        return [layer.weight.T for layer in self._linears()]

    def collapsed(self) -> tuple[Tensor, Tensor]:
        """Weight [I, O] and bias [O] of the single layer that equals the chain without f."""
        first, *others = self._linears()
        weight: Tensor = first.weight.T
        bias: Tensor = first.bias
        for layer in others:
            weight, bias = weight @ layer.weight.T, bias @ layer.weight.T + layer.bias
        return weight, bias

    def _linears(self) -> list[Linear]:
        return cast("list[Linear]", list(self.layers))


def best_affine(x: Tensor, y: Tensor) -> Tensor:
    """Output of the affine map of x that fits y best in the sense of least squares.

    Args:
        x: inputs, [N, I].
        y: values to fit, [N, O].

    Returns:
        [N, O].

    >>> x = torch.rand(10, 2)
    >>> torch.allclose(best_affine(x, 3 * x + 1), 3 * x + 1, atol=1e-5)
    True
    """
    design = torch.cat([x, torch.ones_like(x[:, :1])], 1)  # [N, I + 1]
    return design @ torch.linalg.lstsq(design, y).solution
