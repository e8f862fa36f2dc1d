"""Dropout and batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural import ops
from pyneural.layers.base import Layer, Shape


class Dropout(Layer):
    """In training each element is zero with probability ``rate``, the others grow by 1/(1 - rate).

    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    >>> Dropout(0.5).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    def __init__(self, rate: float, *, input_shape: Sequence[int] | None = None) -> None:
        super().__init__(input_shape)
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate: expected 0 <= rate < 1, got {rate}; correct it")
        self.rate = rate

    def make(self, shape: Shape) -> Shape:
        """The shape as it is."""
        return shape

    def forward(self, x: Tensor) -> Tensor:
        """The input with elements dropped in training."""
        return ops.dropout(x, self.rate) if self.training else x


class BatchNormalization(Layer):
    """Each channel, the last dimension, to mean 0 and variance 1 over the batch, then scaled.

        y = gamma (x - mean) / sqrt(variance + epsilon) + beta

    In evaluation mean and variance are running averages, which keep ``momentum`` of themselves at
    each step; the averaged variance is the unbiased one, as in torch. Ioffe and Szegedy 2015.

    >>> BatchNormalization()(torch.tensor([[1.0], [3.0]])).flatten().round().tolist()
    [-1.0, 1.0]
    """

    def __init__(
        self,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        *,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(input_shape)
        self.momentum, self.epsilon = momentum, epsilon

    def make(self, shape: Shape) -> Shape:
        """Gamma, beta and the running averages for the channels."""
        self.norm = torch.nn.BatchNorm1d(shape[-1], self.epsilon, 1 - self.momentum)
        return shape

    def forward(self, x: Tensor) -> Tensor:
        """From [N, ..., C] to the same shape."""
        return self.norm(x.reshape(-1, x.shape[-1])).reshape(x.shape)
