"""Dropout and batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import ops
from pyneural.layers.base import Layer, Shape


class Dropout(Layer):
    """Dropout: training zeroes elements with probability ``rate``, scales the rest by 1/(1 - rate).

    The difference from ``nn.Dropout`` is explained in the docstring of ``pyneural``.

    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    >>> Dropout(0.5).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    def __init__(self, rate: float, *, input_shape: Sequence[int] | None = None) -> None:
        super().__init__(input_shape)
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate: expected 0 <= rate < 1, got {rate}; 0.5 is usual")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """The input, with dropout in training."""
        return ops.dropout(x, self.rate) if self.training else x


class BatchNormalization(Layer):
    """Normalises each channel, the last dimension, over the batch, then scales and shifts it.

        y = gamma (x - mean) / sqrt(variance + epsilon) + beta

    As in Keras, a layer with ``trainable = False`` is always as in evaluation. That
    uses running averages of mean and variance with decay ``momentum`` per training step;
    the running variance is the unbiased one, as in torch. Ioffe and Szegedy 2015.

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
        """Creates gamma, beta and the running averages of the channels."""
        self.norm = torch.nn.BatchNorm1d(shape[-1], self.epsilon, 1 - self.momentum)
        return shape

    def forward(self, x: Tensor) -> Tensor:
        """From [N, ..., C] to the same shape."""
        training = self.training and self.later_requires_grad
        if self.norm.training != training:
            self.norm.train(training)
        rows = x.reshape(-1, x.shape[-1])
        if training and len(rows) == 1:  # which torch refuses
            return self._of_one(rows).reshape(x.shape)
        return self.norm(rows).reshape(x.shape)

    def _of_one(self, x: Tensor) -> Tensor:
        """Of a batch that is its own mean, with variance 0, as Keras has it; x is [1, C]."""
        norm: Any = self.norm
        with torch.no_grad():
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(x.detach()[0].to(norm.running_mean), 1 - self.momentum)
            norm.running_var.mul_(self.momentum)
        return (x - x) * norm.weight + norm.bias
