"""Sequences to be reversed: a task that depends on order alone."""

from __future__ import annotations

import torch

from pyneural.errors import wholes

_LETTERS = "abcdefgh"
_SHORTEST, _LONGEST = 6, 12


def reversal(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Random texts of 6 to 12 letters a to h, and each of them reversed.

    Sets with different seeds have hardly any text in common: even of the shortest there are 8^6.

    Args:
        count: number of texts N.
        seed: random seed.

    >>> reversal(2)
    (['fadddhbdfc', 'gaaecbghh'], ['cfdbhdddaf', 'hhgbceaag'])
    """
    count, seed = wholes("reversal", count=count, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(_SHORTEST, _LONGEST + 1, (count,), generator=generator).tolist()
    letters = torch.randint(len(_LETTERS), (count, _LONGEST), generator=generator).tolist()
    rows = (row[:length] for row, length in zip(letters, lengths, strict=True))
    texts = ["".join(_LETTERS[code] for code in row) for row in rows]
    return texts, [text[::-1] for text in texts]
