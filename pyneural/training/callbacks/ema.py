"""Exponential moving average of the weights."""

from __future__ import annotations

from typing import Any

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pyneural.training.callbacks.base import Callback


class EMA(Callback):
    """Averages the weights over the updates, by ``torch.optim.swa_utils.AveragedModel``.

        w' <- decay w' + (1 - decay) w    after each update (Polyak and Juditsky, 1992)

    The model has the averaged weights when ``fit`` returns; during training, and in the validation
    after each epoch, it has its own.

    Args:
        decay: in [0, 1).

    Raises:
        ValueError: another decay.

    >>> EMA(0.99).decay
    0.99
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay: expected a number in [0, 1), got {decay}; correct it")
        self.decay = decay

    def on_train_begin(self) -> None:
        """Starts from the weights as they are."""
        average = get_ema_multi_avg_fn(self.decay)
        self.averaged = AveragedModel(self.loop.model, multi_avg_fn=average)

    def on_train_batch_end(self) -> None:
        """Adds the weights to the average."""
        self.averaged.update_parameters(self.loop.model)

    def on_train_end(self) -> None:
        """Gives the model the average."""
        self.loop.model.load_state_dict(self.averaged.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The average."""
        return dict(self.averaged.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self.averaged.load_state_dict(state)
