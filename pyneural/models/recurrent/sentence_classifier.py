"""Many to one: the class of a sentence."""

from __future__ import annotations

from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from pyneural import nn
from pyneural.data.vocabulary import PADDING
from pyneural.errors import wholes
from pyneural.training import Model


class SentenceClassifier(Model):
    """Binary classification of a sentence that is read word by word.

        h_t = LSTM(E(x_t), h_(t-1)),  p = sigmoid(w h_T + b)

    Args:
        words: size of the vocabulary, as ``len`` of a ``data.Vocabulary``.
        hidden: units H of the state, and dimension of the word embedding E.

    Shape:
        word codes x [N, T], padded at the end, to p [N, 1].

    Source: Hochreiter and Schmidhuber 1997; Socher et al., EMNLP (2013), on negation.

    >>> from pyneural.data import Vocabulary
    >>> texts = [text.split() for text in ("the talk was dull", "not dull")]
    >>> words = Vocabulary(texts)
    >>> net = SentenceClassifier(len(words), hidden=8)
    >>> net(words.encode(texts)).shape
    torch.Size([2, 1])
    """

    def __init__(self, words: int, hidden: int) -> None:
        super().__init__()
        words, hidden = wholes("SentenceClassifier", words=words, hidden=hidden)
        self.embedding = nn.Embedding(words, hidden)
        self.recurrent = nn.LSTM(hidden, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, 1, activation="sigmoid")

    def forward(self, x: Tensor) -> Tensor:
        """Probability [N, 1] after the last word of each sentence; padding is ignored."""
        lengths = (x != PADDING).sum(1).cpu()
        packed = pack_padded_sequence(
            self.embedding(x), lengths, batch_first=True, enforce_sorted=False
        )
        _, (h, _) = self.recurrent(packed)
        return self.readout(h[-1])
