"""Dropout, drop-in for torch's."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import ops


class Dropout(torch.nn.Dropout):
    """In training each element is zero with probability ``p``, the others grow by 1 / (1 - p).

        y_i = m_i x_i / (1 - p),  m_i = 0 with probability p, else 1

    ``torch.nn.Dropout``, faster and without a mask in memory; under a seed other elements fall than
    there. In evaluation, y = x.

    Args:
        p: probability of a zero.
        inplace: whether x is overwritten, by torch's own.

    Shape:
        x of any shape to y of the same.

    Raises:
        ValueError: p beyond 0 to 1; at the call, whole numbers.

    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    >>> Dropout(0.5).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input with elements dropped in training."""
        if self.inplace or not self.training:
            return super().forward(input)
        return ops.dropout(input, self.p)
