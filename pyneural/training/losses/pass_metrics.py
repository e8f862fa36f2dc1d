"""Metrics that are no mean of the samples' values: r2, rmse, f1, precision, recall, auc.

Of each batch there are moments, [K], that are means over its samples; of their mean over a whole
pass the metric is made. So it does not depend on the size of the batches, nor on the number of
processes. N samples, C outputs, B bins.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.training.losses.functions import Loss

Value = Callable[[Sequence[float]], float]

_align = Loss.of("mean_squared_error").align
_BINS = 1024  # of scores, in all classes together ...
_FEWEST_BINS = 128  # ... and of one class
_TINY = 1e-12  # variance over mean square of what is constant but for rounding


def _rows(values: Tensor) -> Tensor:
    """[M, C] of [N, ..., C], or of [N]; float64 but where there is none."""
    values = values.float() if values.device.type == "mps" else values.double()
    return values.reshape(-1, values.shape[-1] if values.dim() > 1 else 1)


def squared_error(prediction: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of all outputs, [1]."""
    return (_rows(prediction) - _rows(_align(prediction, y))).square().mean().reshape(1)


def root(moments: Sequence[float]) -> float:
    """Its square root."""
    return float(np.sqrt(moments[0]))


def variances(prediction: Tensor, y: Tensor) -> Tensor:
    """Of each output: squared error, y and y^2; and rows a sample, [3 C + 1]."""
    a, b = _rows(prediction), _rows(_align(prediction, y))
    sums = torch.cat([(a - b).square().sum(0), b.sum(0), b.square().sum(0)])
    return torch.cat([sums, sums.new_tensor([len(a)])]) / len(prediction)


def r2(moments: Sequence[float]) -> float:
    """1 - sum (y - a)^2 / sum (y - mean)^2, the mean over the outputs, as scikit-learn's r2_score.

    An output whose y is constant counts 1 where it is predicted exactly, else 0.
    """
    *sums, rows = moments
    error, first, second = np.reshape(sums, (3, -1))
    spread = second - first**2 / rows
    constant = spread <= _TINY * second
    share = np.divide(error, spread, out=np.zeros_like(error), where=~constant)
    exact = error <= _TINY * second
    return float(np.where(constant, exact, 1 - share).mean())


def _labelled(
    prediction: Tensor, y: Tensor, threshold: float, each: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores [M, C], whether each class is predicted, and whether it is that of y."""
    scores = _rows(prediction)
    classes = scores.shape[1]
    if classes == 1 or each:
        return scores, scores > threshold, _rows(y.reshape(prediction.shape)) > threshold
    flat = y.reshape(-1, classes).argmax(1) if y.shape == prediction.shape else y.reshape(-1)
    truth = F.one_hot(flat.long(), classes).bool()
    return scores, F.one_hot(scores.argmax(1), classes).bool(), truth


def hits(prediction: Tensor, y: Tensor, threshold: float, each: bool) -> Tensor:
    """Of each class: true positives, false positives, false negatives, [3 C]."""
    _, found, truth = _labelled(prediction, y, threshold, each)
    counts = torch.cat([(found & truth).sum(0), (found & ~truth).sum(0), (~found & truth).sum(0)])
    return counts.to(_rows(prediction).dtype) / len(prediction)


def share_of_hits(moments: Sequence[float], beside: Sequence[float]) -> float:
    """The share tp / (tp + a fp + b fn), the mean over classes that are in y or predicted."""
    true, false_positive, false_negative = np.reshape(moments, (3, -1))
    weight_fp, weight_fn = beside
    below = true + weight_fp * false_positive + weight_fn * false_negative
    present = true + false_positive + false_negative > 0
    shares = np.divide(true, below, out=np.zeros_like(true), where=below > 0)
    return float(shares[present].mean()) if present.any() else 0.0


def histograms(prediction: Tensor, y: Tensor, threshold: float, each: bool) -> Tensor:
    """How often scores are in each bin where the class is not y's, and where it is, [2 C B].

    The bins are narrow where sigmoids are steep, and cover all numbers: z / (1 + |z|) of the logit.
    """
    scores, _, truth = _labelled(prediction, y, threshold, each)
    classes = scores.shape[1]
    bins = max(_BINS // classes, _FEWEST_BINS)
    if threshold:  # probabilities
        scores = scores.clamp(1e-12, 1 - 1e-12).logit()
    place = ((scores / (1 + scores.abs()) + 1) * (bins / 2)).long().clamp(0, bins - 1)
    first = torch.arange(classes, device=scores.device) * bins
    index = place + first + truth * (classes * bins)
    counts = torch.bincount(index.reshape(-1), minlength=2 * classes * bins).to(scores.dtype)
    return torch.cat([counts / len(prediction), counts.new_tensor([classes])])


def area(moments: Sequence[float]) -> float:
    """Area under the ROC curve: the share of pairs of which the positive one has a higher score.

    Scores in one bin, as those within 0.002 in the logit near 0, count a half. The mean over the
    classes; nan where one of them has all samples, or none.
    """
    *counts, classes = moments
    negative, positive = np.reshape(counts, (2, round(classes), -1))
    lower = np.cumsum(negative, 1) - negative / 2
    pairs = negative.sum(1) * positive.sum(1)
    right = (positive * lower).sum(1)
    return float(np.divide(right, pairs, out=np.full_like(pairs, np.nan), where=pairs > 0).mean())


# Moments, the metric of them, and whether it looks at classes, by name.
_SHARES = {"precision": (1.0, 0.0), "recall": (0.0, 1.0), "f1": (0.5, 0.5), "f1_score": (0.5, 0.5)}
PASS_METRICS: dict[str, tuple[Callable[..., Tensor], Value, bool]] = {
    **dict.fromkeys(("rmse", "root_mean_squared_error"), (squared_error, root, False)),
    **dict.fromkeys(("r2", "r2_score"), (variances, r2, False)),
    **{name: (hits, partial(share_of_hits, beside=w), True) for name, w in _SHARES.items()},
    "auc": (histograms, area, True),
}
