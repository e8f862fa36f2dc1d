"""The curves of a training: loss and metrics after each epoch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyneural import plots
from pyneural.training.diagnosis import Diagnosis, diagnose
from pyneural.training.state.stateful import Stateful


class History(Stateful):
    """Loss, metrics and learning rate after each epoch, as ``fit`` gives them back.

    ``history["val_loss"]`` is a curve by its name and ``epoch`` its numbers, as in Keras.
    ``stopped`` says in words why the training ended before its last epoch; else it is None. What
    happened at each step is in a ``StepHistory``.

    >>> history = History()
    >>> history.append(0, {"loss": 0.5, "val_loss": 0.6})
    >>> history.append(1, {"loss": 0.4, "val_loss": 0.5})
    >>> history["loss"], history.epoch
    ([0.5, 0.4], [0, 1])
    """

    state_attributes = ("epoch", "history")

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self.stopped: str | None = None

    def __getitem__(self, name: str) -> list[float]:
        return self.history[name]

    def __len__(self) -> int:
        return len(self.epoch)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items())
        return f"History({len(self)} epochs: {last})" if last else "History(no epoch)"

    def append(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Adds an epoch's values; a curve has nan where it was given none."""
        for name in logs:
            self.history.setdefault(name, [float("nan")] * len(self.epoch))
        for name, values in self.history.items():
            values.append(float(logs.get(name, float("nan"))))
        self.epoch.append(epoch)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The curves as a figure of matplotlib, if that is installed; also written to a path."""
        figure = plots.learning_curves(self.history, epochs=self.epoch)
        if path is not None:
            plots.save(figure, Path(path))
        return figure

    def diagnose(self) -> Diagnosis:
        """What the loss curve says: see ``diagnose``."""
        return diagnose(self.history.get("loss", []), self.history.get("val_loss"))
