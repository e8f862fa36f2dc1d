"""One to many: from an image to a sequence of tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import nn
from pyneural.errors import wholes
from pyneural.models.recurrent.recurrent_decoder import RecurrentDecoder
from pyneural.training import Model


class Captioner(Model):
    """Captions of images, generated token by token.

        h_0 = tanh(W_2 relu(W_1 x + b_1) + b_2),  p(y_t | y_1 .. y_(t-1), x) from RecurrentDecoder

    Args:
        pixels: number of pixels of an image.
        symbols: size of the vocabulary of the captions.
        hidden: units H of the image encoder's layers and of the decoder.
        steps: maximum length T of a caption, with its end token.

    Shape:
        ``forward`` takes ``teacher_forced(x, y)``, x [N, pixels] and y [N, T], and returns
        probabilities [N, T, symbols]; ``caption`` takes x alone.

    Source: Vinyals, Toshev, Bengio and Erhan, arXiv:1411.4555 (2014).

    >>> from pyneural.data import Vocabulary
    >>> from pyneural.models import teacher_forced
    >>> letters = Vocabulary(["one", "two"])
    >>> x, y = torch.rand(2, 784), letters.encode(["one", "two"])
    >>> net = Captioner(784, len(letters), hidden=8, steps=4)
    >>> net(teacher_forced(x, y)).shape, net.caption(x).shape
    (torch.Size([2, 4, 8]), torch.Size([2, 4]))
    """

    def __init__(self, pixels: int, symbols: int, hidden: int, steps: int) -> None:
        super().__init__()
        pixels, symbols, hidden, steps = wholes(
            "Captioner", pixels=pixels, symbols=symbols, hidden=hidden, steps=steps
        )
        self.steps = steps
        self.encoder = nn.Sequential(
            nn.Linear(pixels, hidden, activation="relu"),
            nn.Linear(hidden, hidden, activation="tanh"),
        )
        self.decoder = RecurrentDecoder(symbols, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of each token of the caption, given the correct tokens before it."""
        previous = x[:, -self.steps :].long()
        return self.decoder(previous, self.encoder(x[:, : -self.steps]))

    @torch.no_grad()
    def caption(self, x: Tensor) -> Tensor:
        """Token codes [N, T] of captions for the images x [N, pixels], by greedy decoding."""
        return self.decoder.greedy(self.encoder(x), self.steps)
