"""The sum of weighted loss terms that is minimised, with its gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor


class Trainable(Protocol):
    """What a ``Trainer`` asks of a model, besides being a ``torch.nn.Module``.

    All that changes during training, points and generators included, is in its ``state_dict``.
    """

    weights: Mapping[str, float]

    def losses(self) -> dict[str, Tensor]:
        """Unweighted loss terms by name, [] each; the same names in the same order every time."""
        ...

    def begin_phase(self, index: int) -> None:
        """Called before each phase; may draw new points."""
        ...

    def config(self) -> dict[str, Any]:
        """What a checkpoint must have in common with the model, in JSON's types."""
        ...


class Objective:
    """Weighted sum of a model's loss terms as a function of its parameters.

        loss = sum_k weight_k term_k

    Args:
        model: gives the terms and the weights.

    Raises:
        ValueError: the model has no parameter to train.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError(
                "Trainer: model: expected at least one parameter that requires a gradient, got "
                "none; set requires_grad_(True)"
            )
        self.names = list(model.weights)
        self.weights = self.parameters[0].new_tensor(list(model.weights.values()))  # [K]

    def evaluate(self, scale: float = 1.0) -> Tensor:
        """Sets the gradients of scale times the loss, and returns the unweighted terms, [K]."""
        for parameter in self.parameters:
            parameter.grad = None
        terms = torch.stack(list(self.model.losses().values()))
        torch.dot(terms, self.weights if scale == 1.0 else self.weights * scale).backward()
        return terms.detach()

    def total(self, terms: list[float]) -> float:
        """Weighted sum of terms."""
        return sum(w * t for w, t in zip(self.model.weights.values(), terms, strict=True))

    def check_finite(self, terms: list[float], where: str) -> None:
        """Raises FloatingPointError that names the first term that is not finite."""
        for name, term in zip(self.names, terms, strict=True):
            if not math.isfinite(term):
                raise NonFiniteLossError(f"loss term {name!r}: expected a finite number, got "
                                         f"{term} at {where}")  # fmt: skip


class NonFiniteLossError(FloatingPointError):
    """A loss term became nan or infinite."""
