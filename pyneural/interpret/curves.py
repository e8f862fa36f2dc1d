"""Deletion and insertion: the output while elements are taken away, or put in, in an order."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyneural.errors import check_argument, whole
from pyneural.interpret.arguments import Target, as_input, like_samples
from pyneural.interpret.scores import Score, copies, left_as_found


class RemovalCurve(NamedTuple):
    """The output of a model for inputs of which a part is replaced by a baseline."""

    fractions: Tensor  # of the elements that are exchanged, from 0 to 1, [K]
    values: Tensor  # of the output, [K, N]
    area: Tensor  # below each curve, [N]: the mean output over all fractions


def deletion_curve(
    model: torch.nn.Module,
    x: Tensor,
    attributions: Tensor,
    target: Target = None,
    *,
    baseline: float | Tensor = 0.0,
    steps: int = 20,
) -> RemovalCurve:
    """The output while the elements of largest attribution are replaced by a baseline first.

        y_k = F(x with b in the place of its k largest),   area = int_0^1 y df  (trapezoids)

    The better an order finds what the output rests on, the faster it falls: small areas are good,
    compared with that of a random order. Give a model of probabilities, as ``torch.nn.Sequential(
    model, torch.nn.Softmax(1))``, so that samples weigh the same. The inputs on the way look like
    no data, so that the curve is that of a network outside of what it knows.

    Args:
        model: as of ``saliency``.
        x: inputs [N, ...].
        attributions: the same shape; the largest come first. Give magnitudes of those, as of
            gradients, whose sign says a direction and not for or against.
        target: as of ``saliency``.
        baseline: b, a number, the values of one sample, or those of each.
        steps: how many points after the first.

    Returns:
        fractions, values and areas.

    Raises:
        ArgumentError: as of ``saliency``; attributions or a baseline of another shape.

    Source: Petsiuk, Das, Saenko, arXiv:1806.07421 (2018).

    >>> class Sum(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.sum(1)
    >>> x = torch.tensor([[3.0, 0.0, 1.0]])
    >>> deletion_curve(Sum(), x, x).values.flatten().tolist()
    [4.0, 1.0, 0.0, 0.0]
    """
    return _curve("deletion_curve", model, x, attributions, target, baseline, steps, False)


def insertion_curve(
    model: torch.nn.Module,
    x: Tensor,
    attributions: Tensor,
    target: Target = None,
    *,
    baseline: float | Tensor = 0.0,
    steps: int = 20,
) -> RemovalCurve:
    """The output while the elements of largest attribution are put into a baseline first.

        y_k = F(b with the k largest of x in its place)

    Large areas are good. Arguments, results, errors and source are those of ``deletion_curve``.

    >>> class Sum(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.sum(1)
    >>> x = torch.tensor([[3.0, 0.0, 1.0]])
    >>> insertion_curve(Sum(), x, x).values.flatten().tolist()
    [0.0, 3.0, 4.0, 4.0]
    """
    return _curve("insertion_curve", model, x, attributions, target, baseline, steps, True)


def _curve(
    where: str,
    model: torch.nn.Module,
    x: Tensor,
    attributions: Tensor,
    target: Target,
    baseline: float | Tensor,
    steps: int,
    insert: bool,
) -> RemovalCurve:
    x = as_input(where, x).detach()
    found = as_input(where, attributions, "attributions").detach()
    shapes = list(x.shape), list(found.shape)
    check_argument(shapes[0] == shapes[1], f"{where}: attributions", f"{shapes[0]} as x", shapes[1])
    b = like_samples(f"{where}: baseline", baseline, x)
    steps = whole(f"{where}: steps", steps)
    check_argument(steps >= 1, f"{where}: steps", "a whole number >= 1", steps, "write 20")
    before, after = (b, x) if insert else (x, b)
    order = found.reshape(len(x), -1).argsort(dim=1, descending=True, stable=True)
    place = order.argsort(dim=1).view(x.shape)  # of each element in the order
    elements = order.shape[1]
    counts = (torch.arange(min(steps, elements) + 1) * elements / min(steps, elements)).round()
    score = Score(where, model, target, len(x))
    values: list[Tensor] = []
    with left_as_found(model, x), torch.no_grad():
        for some in counts.to(place).split(copies((x,), len(counts))):
            exchanged = place < some.view(-1, *[1] * x.ndim)  # [K, N, ...]
            inputs = torch.where(exchanged, after, before).flatten(0, 1)
            values.append(score((inputs,)).view(len(some), len(x)))
    rows, fractions = torch.cat(values), counts.to(x) / elements
    return RemovalCurve(fractions, rows, torch.trapezoid(rows, fractions, dim=0))
