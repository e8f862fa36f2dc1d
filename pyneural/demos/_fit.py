"""Training in a demo: one progress bar for all epochs; Ctrl-C ends the demo."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pyneural.progress import Display, Pace
from pyneural.training import History, Model
from pyneural.training.callbacks import Callback, TorchScheduler
from pyneural.training.run import INTERRUPTED

_LAYOUTS = (
    "{name} {percentage:3.0f}%|{bar:20}| {epochs} {elapsed}<{left}  {values}",
    "{name} {percentage:3.0f}%|{bar:4}| {left} left  {values}",
)


class Bar(Callback):
    """A bar with a name over all epochs, with the latest losses; removed at the end."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_begin(self) -> None:
        """Makes the bar."""
        self._values, self._display, self._pace = "", Display(), Pace()
        self.due = self._pace.next_look()

    def on_due(self) -> None:
        """Advances the bar."""
        run, batches = self.run, len(self.run.batches)
        step = run.epoch + run.step / batches
        self._pace.note(step * batches)
        if time.perf_counter() >= self._display.due:
            self._display.show(
                _LAYOUTS,
                step,
                run.epochs,
                self._pace.seconds,
                self._pace.left(step * batches, run.epochs * batches),
                name=self.name,
                epochs=f"{run.epoch}/{run.epochs}",
                values=self._values,
            )
        self.due = min(self._pace.next_look(), self._display.due)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Keeps the losses."""
        shown = [name for name in ("loss", "val_loss") if name in logs]
        self._values = ", ".join(f"{name}={logs[name]:.3g}" for name in shown)

    def on_close(self) -> None:
        """Removes the bar."""
        self._display.close()

    def on_train_end(self) -> None:
        """KeyboardInterrupt if Ctrl-C ended the training."""
        if self.run.history.stopped == INTERRUPTED:
            raise KeyboardInterrupt


def one_cycle(rate: float, steps: int) -> TorchScheduler:
    """A learning rate that rises for a tenth of the batches, then falls (OneCycleLR).

    In up to ten batches it falls only: torch divides by the batches that it rises for less one.

    Args:
        rate: the highest.
        steps: batches of the training.
    """
    make = partial(
        torch.optim.lr_scheduler.OneCycleLR, max_lr=rate, total_steps=steps,
        pct_start=0.1 if steps > 10 else 0.0, cycle_momentum=False,
    )  # fmt: skip
    return TorchScheduler(make, "batch")


def fit(
    model: Model,
    name: str,
    x: Tensor | DataLoader,
    y: Tensor | None,
    *callbacks: Callback,
    **options: Any,
) -> History:
    """``model.fit`` with a progress bar; KeyboardInterrupt after Ctrl-C.

    >>> model = Model(torch.nn.Linear(1, 1))
    >>> model.compile("sgd", "mse")
    >>> len(fit(model, "line", torch.ones(4, 1), torch.ones(4, 1), epochs=3))
    3
    """
    return model.fit(x, y, verbose=0, callbacks=[Bar(name), *callbacks], **options)
