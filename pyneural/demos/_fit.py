"""Training in a demo: one progress bar for all epochs; Ctrl-C ends the demo."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from pyneural.training import History, Model
from pyneural.training.callbacks import Callback, TorchScheduler
from pyneural.training.run import INTERRUPTED


class Bar(Callback):
    """Progress bar with a name over the epochs, with the latest losses; removed at the end."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_begin(self) -> None:
        """Shows the empty bar."""
        self.bar = tqdm(total=self.run.epochs, desc=self.name, leave=False, disable=None, ncols=79)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Advances the bar."""
        values = (f"{name}={logs[name]:.3g}" for name in ("loss", "val_loss") if name in logs)
        self.bar.set_postfix_str(", ".join(values), refresh=False)
        self.bar.update()

    def on_train_end(self) -> None:
        """Removes the bar; KeyboardInterrupt if Ctrl-C ended the training."""
        self.bar.close()
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
