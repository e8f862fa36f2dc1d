"""A recurrent decoder: it generates a sequence token by token from its initial state."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import nn
from pyneural.data.vocabulary import START
from pyneural.errors import wholes


class RecurrentDecoder(torch.nn.Module):
    """Recurrent network that generates a sequence of tokens from an initial state.

        h_t = GRU(E(y_(t-1)), h_(t-1)),  p(y_t | y_1 .. y_(t-1), h_0) = softmax(W h_t + b)

    Args:
        symbols: size of the vocabulary, as ``len`` of a ``data.Vocabulary``.
        hidden: units H of the state, and dimension of the token embedding E.

    Source: Sutskever, Vinyals and Le, arXiv:1409.3215 (2014).

    >>> decoder = RecurrentDecoder(symbols=10, hidden=8)
    >>> h_0 = torch.zeros(3, 8)
    >>> decoder(torch.ones(3, 6, dtype=torch.int64), h_0).shape, decoder.greedy(h_0, 6).shape
    (torch.Size([3, 6, 10]), torch.Size([3, 6]))
    """

    def __init__(self, symbols: int, hidden: int) -> None:
        super().__init__()
        symbols, hidden = wholes("RecurrentDecoder", symbols=symbols, hidden=hidden)
        self.embedding = nn.Embedding(symbols, hidden)
        self.recurrent = nn.GRU(hidden, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, symbols)

    def forward(self, previous: Tensor, h_0: Tensor) -> Tensor:
        """Probabilities [N, T, K] of the next token after each of [N, T]; h_0 is [N, H]."""
        h, _ = self.recurrent(self.embedding(previous), h_0[None])
        return self.readout(h).softmax(-1)

    @torch.no_grad()
    def greedy(self, h_0: Tensor, steps: int) -> Tensor:
        """Token codes [N, steps] by greedy decoding: the most probable token at every step."""
        previous = h_0.new_full((len(h_0), 1), START, dtype=torch.int64)
        state, chosen = h_0[None], []
        for _ in range(steps):
            h, state = self.recurrent(self.embedding(previous), state)
            previous = self.readout(h).argmax(-1)
            chosen.append(previous)
        return torch.cat(chosen, 1)


def teacher_forced(x: Tensor, y: Tensor) -> Tensor:
    """Input for teacher forcing: x, then the targets y shifted by one step.

    The network predicts each token of y from x and the correct tokens before it.

    Args:
        x: features or token codes, [N, S].
        y: token codes, [N, T].

    Returns:
        [N, S + T] with the dtype of x: x, START, and y without its last token.

    >>> teacher_forced(torch.tensor([[7, 8]]), torch.tensor([[5, 6, 2]]))
    tensor([[7, 8, 1, 5, 6]])
    """
    start = torch.full_like(y[:, :1], START)
    return torch.cat([x, start.to(x.dtype), y[:, :-1].to(x.dtype)], 1)
