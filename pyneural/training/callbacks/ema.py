"""Exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pyneural.training.callback import Callback
from pyneural.training.checks import check


class EMA(Callback):
    """Averages the weights over the updates.

        w' <- decay w' + (1 - decay) w    after each update (Polyak and Juditsky, 1992)

    The average begins with the weights after the first update. The model has it when training
    ends; before, and in the validation after each epoch, it has its own weights, but within
    ``averaged()``.

    Args:
        decay: in [0, 1).
        part: name of the submodule whose weights are averaged, as "generator"; "" for all.
    """

    state_attributes = ("averages",)

    def __init__(self, decay: float = 0.999, part: str = "") -> None:
        check(0 <= decay < 1, "EMA: decay", "a number in [0, 1)", decay)
        self.decay, self.part = decay, part

    def on_train_begin(self) -> None:
        """Starts without an average."""
        model = self.run.model
        names = [name for name, _ in model.named_modules()]
        expected, remedy = "the name of a submodule", "write '' for all weights"
        check(self.part in names, "EMA: part", expected, repr(self.part), remedy)
        of_part = model.get_submodule(self.part).parameters()
        self.weights: list[Tensor] = [p.detach() for p in of_part]
        self.averages: list[Tensor] = []

    def on_train_batch_end(self) -> None:
        """Adds the weights to the average."""
        if self.averages:
            torch._foreach_lerp_(self.averages, self.weights, 1 - self.decay)
        else:
            self.averages = [weight.clone() for weight in self.weights]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Context in which the model has the average, to be looked at while it is trained."""
        own = [weight.clone() for weight in self.weights]
        self.on_train_end()
        try:
            yield
        finally:
            for weight, before in zip(self.weights, own, strict=True):
                weight.copy_(before)

    def on_train_end(self) -> None:
        """Gives the model the average."""
        for weight, average in zip(self.weights, self.averages, strict=False):
            weight.copy_(average)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        pairs = zip(self.weights, state["averages"], strict=False)  # there may be none yet
        self.averages = [average.to(weight) for weight, average in pairs]
