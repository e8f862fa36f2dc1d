"""Whether a quantity of the epoch is better than ever before."""

from __future__ import annotations

import math

from pyneural.training.checks import check
from pyneural.training.state.stateful import Stateful

_MODES = ("auto", "min", "max")


class Monitor(Stateful):
    """Follows a quantity of the epochs.

    Args:
        callback: for the text of errors.
        name: of the quantity, as it stands in the history.
        mode: "min" or "max" is better; "auto" takes max for accuracies and min for the rest.
        min_delta: smallest change that counts, >= 0.

    >>> monitor = Monitor("EarlyStopping", "val_loss")
    >>> [monitor.better({"val_loss": value}) for value in (0.5, 0.4, 0.45)]
    [True, True, False]
    """

    state_attributes = ("best",)

    def __init__(
        self, callback: str, name: str, mode: str = "auto", min_delta: float = 0.0
    ) -> None:
        expected = f"one of {', '.join(_MODES)}"
        check(mode in _MODES, f"{callback}: mode", expected, repr(mode), "write one")
        check(min_delta >= 0, f"{callback}: min_delta", ">= 0", min_delta)
        grows = name.removeprefix("val_").endswith(("acc", "accuracy"))
        self.callback, self.name, self.min_delta = callback, name, min_delta
        self.mode = ("max" if grows else "min") if mode == "auto" else mode
        self.reset()

    def reset(self) -> None:
        """Forgets what was seen."""
        self.best = -math.inf if self.mode == "max" else math.inf

    def value(self, logs: dict[str, float]) -> float:
        """The quantity of this epoch."""
        if self.name not in logs:
            remedy = "give fit validation_data" if self.name.startswith("val_") else "correct it"
            raise ValueError(
                f"{self.callback}: monitor: expected one of {', '.join(logs)}, got "
                f"{self.name!r}; {remedy}"
            )
        return logs[self.name]

    def better(self, logs: dict[str, float]) -> bool:
        """Whether this epoch is the best so far, which is then remembered."""
        value = self.value(logs)
        gain = value - self.best if self.mode == "max" else self.best - value
        if gain > self.min_delta:
            self.best = value
            return True
        return False
