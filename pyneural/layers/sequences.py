"""Layers of sequences, [N, T, ...]: embedding of whole numbers, LSTM, GRU and simple recurrence."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import nn
from pyneural.layers.base import Layer, Shape


class Embedding(Layer):
    """A vector for each whole number, as of the tokens of a text.

    Args:
        input_dim: how many whole numbers there are, from 0.
        output_dim: elements of each vector.

    Vectors are initialised uniform in [-0.05, 0.05], as in Keras.

    >>> Embedding(10, 4)(torch.tensor([[1, 2, 9]])).shape
    torch.Size([1, 3, 4])
    """

    def __init__(
        self, input_dim: int, output_dim: int, *, input_shape: Sequence[int] | None = None
    ) -> None:
        super().__init__(input_shape)
        self.input_dim = self.positive("input_dim", input_dim)
        self.output_dim = self.positive("output_dim", output_dim)
        self.embedding = torch.nn.Embedding(self.input_dim, self.output_dim)
        torch.nn.init.uniform_(self.embedding.weight, -0.05, 0.05)

    def make(self, shape: Shape) -> Shape:
        """A vector for each element."""
        return (*shape, self.output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """From whole numbers [N, ...] to [N, ..., output_dim]."""
        return self.embedding(x)


class _Recurrent(Layer):
    """Base of the recurrent layers: the hidden state of the last step, or of all."""

    kind: Any  # nn.RNN, nn.GRU or nn.LSTM

    def __init__(
        self,
        units: int,
        return_sequences: bool = False,
        go_backwards: bool = False,
        *,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(input_shape)
        self.units = self.positive("units", units)
        self.return_sequences, self.go_backwards = return_sequences, go_backwards

    def make(self, shape: Shape) -> Shape:
        """Weights for sequences [T, I]."""
        self.expect(shape, 2, "(steps, features)")
        self.recurrent = self.kind(shape[1], self.units, batch_first=True)
        for name, parameter in self.recurrent.named_parameters():
            if name.startswith("weight_ih"):
                torch.nn.init.xavier_uniform_(parameter)
            elif name.startswith("weight_hh"):
                torch.nn.init.orthogonal_(parameter)
            else:
                torch.nn.init.zeros_(parameter)
        self.initialise_bias()
        return (shape[0], self.units) if self.return_sequences else (self.units,)

    def initialise_bias(self) -> None:
        """Nothing more than 0."""

    def build(self, input_shape: Sequence[int]) -> Shape:
        """Creates the weights; sequences may have other lengths later."""
        if self._built_for is not None and len(input_shape) == 2:
            input_shape = (self._built_for[0], input_shape[1])
        return super().build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        """From [N, T, I] to [N, units], or [N, T, units] with ``return_sequences``."""
        y, _ = self.recurrent(x.flip(1) if self.go_backwards else x)
        return y if self.return_sequences else y[:, -1]


class SimpleRNN(_Recurrent):
    """Recurrent layer, h_t = tanh(W x_t + U h_{t-1} + b).

    Args:
        units: size of h.
        return_sequences: whether to give h of all steps instead of the last one.
        go_backwards: whether to begin with the last step.
        input_shape: (steps, features).

    >>> SimpleRNN(4)(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 4])
    """

    kind = nn.RNN


class GRU(_Recurrent):
    """Gated recurrent unit of ``nn.GRU`` (Cho et al. 2014), arguments as of ``SimpleRNN``.

    >>> GRU(4, return_sequences=True)(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 5, 4])
    """

    kind = nn.GRU


class LSTM(_Recurrent):
    """Long short-term memory of ``nn.LSTM``, arguments as of ``SimpleRNN``.

    The bias of the forget gate begins with 1, as in Keras (Jozefowicz et al. 2015).

    >>> LSTM(4)(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 4])
    """

    kind = nn.LSTM

    def initialise_bias(self) -> None:
        """1 for the forget gate, the second of four."""
        with torch.no_grad():
            self.recurrent.bias_ih_l0[self.units : 2 * self.units] = 1.0
