"""Exponential moving average of the weights."""

from typing import Any

import torch
from torch import Tensor

from pyneural.training.callback import Callback
from pyneural.training.checks import check


class EMA(Callback):
    """Averages the weights over the updates.

        w' <- decay w' + (1 - decay) w    after each update (Polyak and Juditsky, 1992)

    The average begins with the weights after the first update. The model has it when training
    ends; before, and in the validation after each epoch, it has its own weights. 0 <= decay < 1.
    """

    state_attributes = ("averages",)

    def __init__(self, decay: float = 0.999) -> None:
        check(0 <= decay < 1, "EMA: decay", "a number in [0, 1)", decay)
        self.decay = decay

    def on_train_begin(self) -> None:
        """Starts without an average."""
        self.weights: list[Tensor] = [p.detach() for p in self.run.model.parameters()]
        self.averages: list[Tensor] = []

    def on_train_batch_end(self) -> None:
        """Adds the weights to the average."""
        if self.averages:
            torch._foreach_lerp_(self.averages, self.weights, 1 - self.decay)
        else:
            self.averages = [weight.clone() for weight in self.weights]

    def on_train_end(self) -> None:
        """Gives the model the average."""
        for weight, average in zip(self.weights, self.averages, strict=False):
            weight.copy_(average)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        pairs = zip(self.weights, state["averages"], strict=False)  # there may be none yet
        self.averages = [average.to(weight) for weight, average in pairs]
