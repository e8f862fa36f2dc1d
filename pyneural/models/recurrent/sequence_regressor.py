"""Regression of a vector on a sequence with a recurrent network."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import nn
from pyneural.errors import wholes

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class SequenceRegressor(torch.nn.Module):
    """Recurrent layers and a linear readout of the final state.

        h_t = cell(x_t, h_(t-1)),  y = W h_T + b

    With several layers the readout sees the last layer; with two directions it sees the final state
    of both.

    Args:
        cell: "rnn" (tanh), "lstm" or "gru".
        inputs: features of a step.
        hidden: units H of each layer and direction.
        outputs: components of y.
        layers: number of stacked recurrent layers.
        bidirectional: whether each layer also reads the sequence backwards.

    Shape:
        x [N, T, inputs] to y [N, outputs].

    Raises:
        ValueError: an unknown cell.

    Source: Elman 1990; Hochreiter and Schmidhuber 1997; Schuster and Paliwal 1997; Cho et al. 2014.

    >>> SequenceRegressor("gru", 2, 8, 1, layers=2, bidirectional=True)(torch.rand(5, 30, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        cell: str,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        inputs, hidden, outputs, layers = wholes(
            "SequenceRegressor", inputs=inputs, hidden=hidden, outputs=outputs, layers=layers
        )
        if cell not in CELLS:
            raise ValueError(
                f"SequenceRegressor: cell: expected one of {', '.join(CELLS)}, got {cell!r}; "
                "choose one of these"
            )
        self.directions = 2 if bidirectional else 1
        self.recurrent = CELLS[cell](
            inputs, hidden, layers, batch_first=True, bidirectional=bidirectional
        )
        self.readout = nn.Linear(self.directions * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Output [N, outputs] for the sequence x [N, T, inputs]."""
        _, end = self.recurrent(x)
        h = end[0] if isinstance(end, tuple) else end
        return self.readout(torch.cat([*h[-self.directions :]], -1))
