"""The simplest recurrent network: a hidden state and a linear readout at every step."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import ops
from pyneural.errors import wholes


class SimpleRNN(torch.nn.Module):
    r"""The simplest recurrent network.

        h_t = tanh(W_hh h_(t-1) + W_xh x_t),  y_t = W_hy h_t,  h_0 = 0

    ``forward`` computes all steps in one call of a kernel; ``unrolled`` evaluates the equation step
    by step in plain torch. Both give the same values and gradients.

    Args:
        inputs: features I of a step.
        hidden: units H of the state.
        outputs: components O of the output at each step.

    Shape:
        x [N, T, I] to y [N, T, O].

    Source: Elman, Cognitive Science 14, 179 (1990).

    >>> network, x = SimpleRNN(2, 8, 1), torch.rand(5, 30, 2)
    >>> torch.allclose(network(x), network.unrolled(x), atol=1e-6)
    True
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        inputs, hidden, outputs = wholes("SimpleRNN", inputs=inputs, hidden=hidden, outputs=outputs)
        self.weight_xh = torch.nn.Parameter(torch.empty(hidden, inputs))
        self.weight_hh = torch.nn.Parameter(torch.empty(hidden, hidden))
        self.weight_hy = torch.nn.Parameter(torch.empty(outputs, hidden))
        for weight in self.parameters():
            torch.nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs y [N, T, O] for x [N, T, I]."""
        weights = (self.weight_xh, self.weight_hh, None, None)
        h, _ = ops.rnn(x.transpose(0, 1), None, weights, "tanh")
        return ops.dense(h, self.weight_hy).transpose(0, 1)

    def unrolled(self, x: Tensor) -> Tensor:
        """The same as ``forward``, one step at a time in plain torch."""
        h = x.new_zeros(len(x), len(self.weight_hh))
        outputs = []
        for x_t in x.unbind(1):
            h = torch.tanh(h @ self.weight_hh.T + x_t @ self.weight_xh.T)
            outputs.append(h @ self.weight_hy.T)
        return torch.stack(outputs, 1)
