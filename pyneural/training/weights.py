"""Weights of the terms of a loss: numbers, and parameters over which the loss is maximised."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Weight = float | Tensor


def ascending(weight: Weight) -> Weight:
    """The value of a weight, with the sign of its gradient changed.

    Descent along the gradient of a loss is then ascent for the weight:

        min_w max_lambda sum_k lambda_k term_k(w)

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor(3.0))
    >>> (ascending(weight) * 2).backward()
    >>> weight.grad
    tensor(-2.)
    """
    return 2 * weight.detach() - weight if isinstance(weight, Tensor) else weight


def number(weight: Weight) -> float:
    """The value of a weight."""
    return float(weight.detach()) if isinstance(weight, Tensor) else float(weight)


def weighted_sum(weights: Mapping[str, Weight], terms: Mapping[str, float]) -> float:
    """sum_k w_k terms[k], the weights being 1 where they are not given."""
    known = {name: number(weights.get(name, 1.0)) for name in terms}
    return sum(known[name] * term for name, term in terms.items() if known[name] != 0)
