"""Dropout, drop-in for torch's."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.nn.checks import check_floating
from pyneural.nn.drop_in import DropIn, call_without_tensors


class Dropout(DropIn, torch.nn.Dropout):
    """Dropout: training zeroes each element with probability p and scales the rest by 1 / (1 - p).

        y_i = m_i x_i / (1 - p),  m_i = 0 with probability p, else 1

    ``torch.nn.Dropout``, but faster and without a mask in memory. The same seed drops different
    elements than in torch. In evaluation, y = x. The docstring of ``pyneural``
    explains the difference from ``layers.Dropout``.

    Args:
        p: probability of zeroing an element.
        inplace: overwrite x, which falls back to torch's implementation.

    Shape:
        x of any shape to y of the same shape.

    Raises:
        ArgumentError: p outside [0, 1]; at the call, an integer input.

    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    >>> Dropout(0.5).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    _twin = torch.nn.Dropout

    def forward(self, input: Tensor) -> Tensor:
        """The input, with dropout in training."""
        if not isinstance(input, Tensor):
            return call_without_tensors(self, input)
        if self.inplace or not self.training:
            return super().forward(input)
        try:
            return ops.dropout(input, self.p)
        except ArgumentError:
            check_floating("Dropout", "input", input)
            raise
