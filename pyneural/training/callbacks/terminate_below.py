"""Stops a training in which one of two opponents has won."""

from __future__ import annotations

import math
import warnings

from pyneural.errors import whole
from pyneural.training.callback import Callback
from pyneural.training.checks import check


class TerminateBelow(Callback):
    """Stops where a quantity stays below a level, as the loss of a discriminator that has won.

    What the generator learns from such a discriminator is nothing, or noise. While the quantity is
    below the level no checkpoint is written, so that the file is that of the last epoch that was
    above it, from which another training can go on.

    Args:
        monitor: name of the quantity in the history; without it the first epoch is a ValueError.
        level: that is too low.
        patience: epochs in a row below it after which to stop, >= 1.

    Raises:
        ValueError: a level that is no number, or a patience below 1.
    """

    def __init__(self, monitor: str, level: float, patience: int = 1) -> None:
        check(math.isfinite(level), "TerminateBelow: level", "a finite number", level, "write 1e-3")
        self.monitor, self.level = monitor, level
        self.patience = whole("TerminateBelow: patience", patience)
        check(self.patience >= 1, "TerminateBelow: patience", ">= 1", patience, "write 20")

    def on_train_begin(self) -> None:
        """Looks whether there will be such a quantity, and starts to count."""
        known, name = self.run.quantities(), repr(self.monitor)
        good = known is None or self.monitor in known
        check(good, "TerminateBelow: monitor", f"one of {', '.join(known or ())}", name)
        self.epochs = 0  # below it; a checkpoint is written only where there are none
        self.run.in_doubt = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Counts the epoch, or stops."""
        below = logs[self.monitor] < self.level
        self.epochs = self.epochs + 1 if below else 0
        self.run.in_doubt = below
        if self.epochs >= self.patience:
            since = f"for {self.epochs} epochs"
            reason = f"TerminateBelow: {self.monitor!r} was below {self.level:g} {since}"
            warnings.warn(f"{reason}; checkpoints are of the time before", stacklevel=2)
            self.run.stop(reason)
