"""Many to many: translation with a recurrent encoder and decoder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from pyneural import nn
from pyneural.data.vocabulary import PADDING
from pyneural.errors import wholes
from pyneural.models.recurrent.recurrent_decoder import RecurrentDecoder
from pyneural.training import Model


class Translator(Model):
    """Recurrent encoder-decoder: a text becomes one vector, from which the translation follows.

        c = tanh(W [h_S, h'_1] + b),  h = GRU(E(x_1), .., E(x_S)),  h' = GRU(E(x_S), .., E(x_1))
        p(y_t | y_1 .. y_(t-1), c) from ``RecurrentDecoder`` with h_0 = c

    Args:
        source_symbols: size of the source vocabulary.
        target_symbols: size of the target vocabulary.
        hidden: units H of each recurrent layer.
        steps: maximum length T of a translation, with its end token.

    Shape:
        ``forward`` takes ``teacher_forced(x, y)``, x [N, S] and y [N, T], and returns probabilities
        [N, T, target_symbols]; ``translate`` takes x alone.

    Source: Cho et al., arXiv:1406.1078 (2014); Sutskever, Vinyals and Le, arXiv:1409.3215 (2014).

    >>> from pyneural.data import Vocabulary
    >>> from pyneural.models import teacher_forced
    >>> words, numbers = ["seven", "eleven"], ["7", "11"]
    >>> source, target = Vocabulary(words), Vocabulary(numbers)
    >>> net = Translator(len(source), len(target), hidden=8, steps=3)
    >>> x, y = source.encode(words), target.encode(numbers)
    >>> net(teacher_forced(x, y)).shape, net.translate(x).shape
    (torch.Size([2, 3, 5]), torch.Size([2, 3]))
    """

    def __init__(self, source_symbols: int, target_symbols: int, hidden: int, steps: int) -> None:
        super().__init__()
        source_symbols, target_symbols, hidden, steps = wholes(
            "Translator",
            source_symbols=source_symbols,
            target_symbols=target_symbols,
            hidden=hidden,
            steps=steps,
        )
        self.steps = steps
        self.embedding = nn.Embedding(source_symbols, hidden)
        self.encoder = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * hidden, hidden, activation="tanh")
        self.decoder = RecurrentDecoder(target_symbols, hidden)

    def encode(self, x: Tensor) -> Tensor:
        """The vector c [N, H] for texts x [N, S]; padding is ignored."""
        lengths = (x != PADDING).sum(1).cpu()
        packed = pack_padded_sequence(
            self.embedding(x), lengths, batch_first=True, enforce_sorted=False
        )
        _, ends = self.encoder(packed)
        return self.bridge(torch.cat([*ends], -1))

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of each token of the translation, given the correct tokens before it."""
        return self.decoder(x[:, -self.steps :], self.encode(x[:, : -self.steps]))

    @torch.no_grad()
    def translate(self, x: Tensor) -> Tensor:
        """Token codes [N, T] of translations of x [N, S], by greedy decoding."""
        return self.decoder.greedy(self.encode(x), self.steps)
