"""Integer codes for letters or words, in sequences padded to equal length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

PADDING, START, END = 0, 1, 2  # special tokens, before the codes of the symbols


class Vocabulary:
    """Maps symbols, letters or words, to integer codes and back.

    Codes 0, 1 and 2 are padding, start and end; the symbols follow in alphabetical order.

    Args:
        texts: strings, for letters as symbols, or lists of words.

    >>> letters = Vocabulary(["zero", "one"])
    >>> len(letters), letters.encode(["one", "zero"]).tolist()
    (8, [[5, 4, 3, 2, 0], [7, 3, 6, 5, 2]])
    >>> letters.decode(letters.encode(["one", "zero"]))
    [['o', 'n', 'e'], ['z', 'e', 'r', 'o']]
    """

    def __init__(self, texts: Iterable[Iterable[str]]) -> None:
        self.symbols = sorted({symbol for text in texts for symbol in text})
        self._codes = {symbol: code for code, symbol in enumerate(self.symbols, END + 1)}

    def __len__(self) -> int:
        return len(self.symbols) + END + 1

    def encode(self, texts: Sequence[Iterable[str]]) -> Tensor:
        """Codes [N, T] of the texts, each followed by END and padded to the longest.

        Raises:
            ValueError: a symbol that is not in the vocabulary.
        """
        try:
            rows = [[self._codes[symbol] for symbol in text] + [END] for text in texts]
        except KeyError as error:
            raise ValueError(
                f"Vocabulary: texts: expected symbols among {' '.join(self.symbols[:40])}, got "
                f"{error.args[0]!r}; build the vocabulary from texts that contain it"
            ) from None
        steps = max(map(len, rows), default=0)
        padded = [row + [PADDING] * (steps - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int64).reshape(len(rows), steps)

    def decode(self, codes: Tensor) -> list[list[str]]:
        """Symbols of each row of codes [N, T] up to its first END, without padding and START."""
        texts = []
        for row in codes.tolist():
            row = row[: row.index(END)] if END in row else row
            texts.append([self.symbols[code - END - 1] for code in row if code > END])
        return texts
