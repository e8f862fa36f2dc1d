"""Whether two sets of samples have the same distribution."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pyneural import optim
from pyneural.errors import ArgumentError, whole
from pyneural.metrics.checks import check_rows
from pyneural.progress import progress

_BATCH = 200  # as in scikit-learn's MLPClassifier, and so the tolerance and the patience
_TOLERANCE = 1e-4
_PATIENCE = 10
_WIDTH = 10  # units of a hidden layer for each column


def c2st(x: Tensor, y: Tensor, *, folds: int = 5, epochs: int = 1000, seed: int = 1) -> float:
    """Classifier two-sample test: how often a network tells x from y, in samples it has not seen.

    1/2 where the distributions are equal, 1 where they do not overlap. The classifier is a network
    with two hidden layers of 10 D rectified linear units, trained by Adam until its loss ceases to
    fall; the accuracy is the mean over cross-validation. Its standard error is
    sqrt(c (1 - c) / 2N): two sets of 1,000 samples of one distribution score 0.50 +- 0.01, so that
    a value within 0.02 of 1/2 is noise. What the best classifier would reach may be more.

    Args:
        x: samples [N, D]; both sets are standardised by its mean and standard deviation.
        y: samples [N, D], as many.
        folds: number of parts, each of which is predicted by a network trained on the others.
        epochs: largest number of passes of each training.
        seed: of the parts, the weights and the batches.

    Returns:
        the accuracy c, 0 to 1.

    Source: Lopez-Paz and Oquab (2017), arXiv:1610.06545; with this classifier and this scaling,
    Lueckmann et al. (2021), arXiv:2101.04653.

    >>> generator = torch.Generator().manual_seed(0)
    >>> x, y = torch.randn(2, 300, 2, generator=generator)
    >>> c2st(x, y) < 0.56, c2st(x, y + 2) > 0.9
    (True, True)
    """
    folds, epochs = whole("c2st: folds", folds), whole("c2st: epochs", epochs)
    _check(x, y, folds)
    scale = torch.where((deviation := x.std(0)) > 0, deviation, 1)
    rows = torch.cat([x, y]).sub(x.mean(0)).div(scale).detach().float()
    labels = torch.cat([torch.zeros(len(x)), torch.ones(len(y))]).to(rows)
    generator = torch.Generator().manual_seed(whole("c2st: seed", seed))
    parts = torch.randperm(len(rows), generator=generator).tensor_split(folds)
    networks = _Networks(folds, rows.shape[1], generator).to(rows.device)
    others = [torch.cat([*parts[:fold], *parts[fold + 1 :]]) for fold in range(folds)]
    shortest = min(map(len, others))  # parts differ by one row at most
    _train(networks, rows, labels, torch.stack([o[:shortest] for o in others]), epochs, generator)
    right = 0.0
    with torch.no_grad():
        for fold, part in enumerate(parts):
            predicted = networks(rows[part].expand(folds, -1, -1))[fold] > 0
            right += float((predicted == (labels[part] > 0)).float().mean())
    return right / folds


class _Networks(nn.Module):
    """A network of two hidden layers for each of F folds, in one call: [F, B, D] -> [F, B].

    Weights start Glorot uniform and biases zero.
    """

    def __init__(self, folds: int, features: int, generator: torch.Generator) -> None:
        super().__init__()
        widths = [features, _WIDTH * features, _WIDTH * features, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(widths):
            uniform = 2 * torch.rand(folds, fan_in, fan_out, generator=generator) - 1
            self.weights.append(nn.Parameter(uniform * math.sqrt(6 / (fan_in + fan_out))))
            self.biases.append(nn.Parameter(torch.zeros(folds, 1, fan_out)))

    def forward(self, x: Tensor) -> Tensor:
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = torch.baddbmm(bias, x, weight).relu()
        return torch.baddbmm(self.biases[-1], x, self.weights[-1]).squeeze(2)


@torch.enable_grad()
def _train(
    networks: _Networks,
    rows: Tensor,  # [N, D]
    labels: Tensor,  # [N]
    others: Tensor,  # [F, n]: the rows that each network is trained on
    epochs: int,
    generator: torch.Generator,
) -> None:
    """Adam, until the mean loss over an epoch and all folds has ceased to fall."""
    optimizer = optim.Adam(networks.parameters(), lr=1e-3, fused=True)
    best, waited = math.inf, 0
    for _ in progress("c2st: epochs", iter(range(epochs))):  # mostly it ends before the last
        order = others.gather(1, torch.rand(others.shape, generator=generator).argsort(1))
        total = torch.zeros((), device=rows.device)
        for batch in order.to(rows.device).split(_BATCH, 1):
            predicted = networks(rows[batch])
            # The mean over a batch of each network; their sum, since the networks are independent.
            loss = binary_cross_entropy_with_logits(predicted, labels[batch]) * len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * batch.shape[1] / order.numel()
        waited = 0 if float(total) < best - _TOLERANCE else waited + 1
        best = min(best, float(total))
        if waited >= _PATIENCE:
            return


def _check(x: Tensor, y: Tensor, folds: int) -> None:
    check_rows("c2st", 0, x=x, y=y)
    if len(x) != len(y):
        raise ArgumentError(
            f"c2st: x and y: expected as many rows, got {len(x)} and {len(y)}; take as many of each"
        )
    if not 2 <= folds <= len(x):
        raise ArgumentError(
            f"c2st: folds: expected 2 to the {len(x)} rows of x, got {folds}; write 5 and "
            "give more samples"
        )
