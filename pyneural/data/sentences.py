"""Short positive and negative reviews of talks and papers, from a small grammar."""

from __future__ import annotations

import torch
from torch import Tensor

_NOUNS = (
    "analysis", "argument", "article", "chapter", "course", "derivation", "essay", "explanation",
    "lecture", "manual", "paper", "poster", "proof", "report", "review", "seminar", "study",
    "talk", "thesis", "tutorial",
)  # fmt: skip
_PAIRS = (  # positive and negative
    ("brilliant", "dull"), ("careful", "careless"), ("clear", "confusing"),
    ("convincing", "doubtful"), ("deep", "shallow"), ("elegant", "clumsy"),
    ("excellent", "terrible"), ("fair", "unfair"), ("fresh", "stale"), ("helpful", "useless"),
    ("honest", "misleading"), ("inspiring", "boring"), ("lively", "tedious"),
    ("precise", "sloppy"), ("sound", "flawed"), ("thorough", "superficial"),
)  # fmt: skip
# {a} has the sentiment of the sentence, {b} the opposite; in most the word order matters.
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
_HELD_OUT_EVERY = 5  # every fifth combination of a noun and an adjective


def sentences(*, held_out: bool = False) -> tuple[list[str], Tensor]:
    """All sentences of the grammar: 13 patterns, 20 nouns, 16 pairs of opposite adjectives.

    The words alone do not determine the sentiment: "i expected the talk to be dull but it was
    brilliant" and its opposite consist of the same words. The split is fixed and by content: a
    fifth of the combinations of noun and adjective is held out in all patterns.

    Args:
        held_out: return the held-out sentences, 1,664 of 8,320, instead of the training sentences.

    Returns:
        N sentences, and their sentiment, 1 for positive and 0 for negative, float32 [N].

    >>> texts, sentiment = sentences()
    >>> for text, label in zip(texts[8:24:5], sentiment[8:24:5]):
    ...     print(int(label), text)
    1 the analysis was not careless
    0 the analysis was never careful
    1 the analysis was not careless but careful
    0 at first the analysis seemed careful in the end it was careless
    """
    texts, sentiment = [], []
    for row, noun in enumerate(_NOUNS):
        for column, (good, bad) in enumerate(_PAIRS):
            if ((row + column) % _HELD_OUT_EVERY == 0) == held_out:
                for pattern in _PATTERNS:
                    texts.append(pattern.format(noun=noun, a=good, b=bad))
                    texts.append(pattern.format(noun=noun, a=bad, b=good))
                    sentiment += [1.0, 0.0]
    return texts, torch.tensor(sentiment)
