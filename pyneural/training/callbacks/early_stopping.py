"""Stops when a quantity has not become better for some epochs."""

from __future__ import annotations

from torch import Tensor

from pyneural.training.callback import Callback
from pyneural.training.callbacks.monitor import Monitor
from pyneural.training.checks import check


class EarlyStopping(Callback):
    """Stops a training that has ceased to get better (Prechelt, 1998).

    Args:
        monitor: name of the quantity in the history.
        min_delta: smallest change that counts.
        patience: epochs without a better value after which to stop; the first one counts.
        mode: "min", "max" or "auto".
        restore_best_weights: whether to go back to the weights of the best epoch in the end.

    Raises:
        ValueError: a number below 0, or, at the first epoch, no quantity of that name.

    >>> EarlyStopping(patience=3).patience
    3
    """

    state_attributes = ("monitor", "waited", "best_epoch", "best_weights")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        restore_best_weights: bool = False,
    ) -> None:
        check(patience >= 0, "EarlyStopping: patience", ">= 0", patience)
        self.monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience, self.restore_best_weights = patience, restore_best_weights
        self.on_train_begin()

    def on_train_begin(self) -> None:
        """Forgets what was seen before."""
        self.monitor.reset()
        self.waited, self.best_epoch = 0, 0
        self.best_weights: dict[str, Tensor] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Keeps the weights, or counts an epoch that was not better."""
        if self.monitor.better(logs):
            self.waited, self.best_epoch = 0, epoch
            if self.restore_best_weights:
                state = self.run.model.state_dict()
                self.best_weights = {name: value.clone() for name, value in state.items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.run.stop(
                f"EarlyStopping: {self.monitor.name} was best in epoch {self.best_epoch + 1} "
                f"({self.monitor.best:.4g})"
            )

    def on_train_end(self) -> None:
        """Puts the best weights back."""
        if self.best_weights is not None:
            self.run.model.load_state_dict(self.best_weights)
