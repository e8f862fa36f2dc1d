"""Short judgements of talks and papers, kind and unkind ones, from a small grammar."""

from __future__ import annotations

import torch
from torch import Tensor

_NOUNS = (
    "analysis", "argument", "article", "chapter", "course", "derivation", "essay", "explanation",
    "lecture", "manual", "paper", "poster", "proof", "report", "review", "seminar", "study",
    "talk", "thesis", "tutorial",
)  # fmt: skip
_PAIRS = (  # kind and unkind
    ("brilliant", "dull"), ("careful", "careless"), ("clear", "confusing"),
    ("convincing", "doubtful"), ("deep", "shallow"), ("elegant", "clumsy"),
    ("excellent", "terrible"), ("fair", "unfair"), ("fresh", "stale"), ("helpful", "useless"),
    ("honest", "misleading"), ("inspiring", "boring"), ("lively", "tedious"),
    ("precise", "sloppy"), ("sound", "flawed"), ("thorough", "superficial"),
)  # fmt: skip
# {a} says what the sentence says, {b} the contrary; most of them need the order of the words.
_PATTERNS = (
    "the {noun} was {a}",
    "the {noun} was very {a}",
    "everybody found the {noun} {a}",
    "not only i found the {noun} {a}",
    "the {noun} was not {b}",
    "the {noun} was not {b} at all",
    "the {noun} was never {b}",
    "nobody found the {noun} {b}",
    "the {noun} was {a} not {b}",
    "the {noun} was not {b} but {a}",
    "i expected the {noun} to be {b} but it was {a}",
    "at first the {noun} seemed {b} in the end it was {a}",
    "the {noun} that i thought would be {b} was {a}",
)
_EVERY = 5  # of so many pairs of a noun and an adjective one is held out


def sentences(*, held_out: bool = False) -> tuple[list[str], Tensor]:
    """All judgements that the grammar has: 13 patterns, 20 nouns, 16 pairs of opposites.

    Words alone do not tell a kind one: "i expected the talk to be dull but it was brilliant" has
    the words of its contrary. The split is fixed and by content: a fifth of the pairs of a noun and
    an adjective is held out, in all patterns.

    Args:
        held_out: whether those to test with; 1,664 of 8,320.

    Returns:
        N sentences, and 1 for kind and 0 for unkind, float32 [N].

    >>> texts, kind = sentences()
    >>> for text, label in zip(texts[8:24:5], kind[8:24:5]):
    ...     print(int(label), text)
    1 the analysis was not careless
    0 the analysis was never careful
    1 the analysis was not careless but careful
    0 at first the analysis seemed careful in the end it was careless
    """
    texts, kind = [], []
    for number, noun in enumerate(_NOUNS):
        for index, (good, bad) in enumerate(_PAIRS):
            if ((number + index) % _EVERY == 0) == held_out:
                for pattern in _PATTERNS:
                    texts.append(pattern.format(noun=noun, a=good, b=bad))
                    texts.append(pattern.format(noun=noun, a=bad, b=good))
                    kind += [1.0, 0.0]
    return texts, torch.tensor(kind)
