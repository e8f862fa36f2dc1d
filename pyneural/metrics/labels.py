"""Which classes samples are of, by a classifier, and how sure it is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyneural.errors import ArgumentError

_LEAST = 0.1  # of an even share, for a class to count as covered


class ClassCoverage(NamedTuple):
    """The labels of samples."""

    shares: Tensor  # of the samples in each class, [C], float64
    covered: int  # classes with at least a tenth of an even share, 0.1 / C
    entropy: float  # of the shares, in nats: log C if all classes are as frequent
    confident: float  # share of the samples whose class has at least the given probability


def class_coverage(probabilities: Tensor, *, confidence: float = 0.9) -> ClassCoverage:
    """Classes that a classifier finds in samples, and the share of which it is confident.

        label_n = argmax_c p_nc,   confident = mean of [max_c p_nc >= confidence]
        entropy = -sum_c share_c log share_c

    Compare with what the same classifier says of held-out data: it is confident of less than all of
    them too, and their entropy is below log C where their classes are not as frequent.

    Args:
        probabilities: p of each class, [N, C], as ``models.ImageClassifier.probabilities``.
        confidence: least probability of a confident label, in (0, 1].

    Raises:
        ArgumentError: no rows, or rows that are no probabilities.

    >>> found = class_coverage(torch.tensor([[0.95, 0.05], [0.4, 0.6]]))
    >>> found.covered, found.entropy, found.confident
    (2, 0.693..., 0.5)
    """
    if probabilities.ndim != 2 or probabilities.numel() == 0:
        raise ArgumentError(
            "class_coverage: probabilities: expected [N, C] with a row or more, got "
            f"{list(probabilities.shape)}; give one row a sample"
        )
    if not 0 < confidence <= 1:
        raise ArgumentError(
            f"class_coverage: confidence: expected a number in (0, 1], got {confidence}; write 0.9"
        )
    p = probabilities.detach().double()
    good = (p >= 0).all(1) & ((p.sum(1) - 1).abs() < 1e-3)  # NaN neither
    if not bool(good.all()):
        raise ArgumentError(
            "class_coverage: probabilities: expected rows >= 0 that sum to 1, got "
            f"{int((~good).sum()):,} others; take the softmax of logits"
        )
    highest, label = p.max(1)
    shares = label.bincount(minlength=p.shape[1]).double() / len(p)
    covered = int((shares >= _LEAST / p.shape[1]).sum())
    entropy = -float(torch.xlogy(shares, shares).sum())
    return ClassCoverage(shares, covered, entropy, float((highest >= confidence).double().mean()))
