"""Training a model in a demo: one bar for all epochs, and the end that Ctrl-C asks for."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from tqdm import tqdm

from pyneural.training import History, Model
from pyneural.training.callbacks import Callback
from pyneural.training.loop import INTERRUPTED


class Bar(Callback):
    """A bar that moves with the epochs, shows the last losses, and goes when training ends.

    Args:
        name: stands before it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_begin(self) -> None:
        """Shows it, empty."""
        self.bar = tqdm(total=self.loop.epochs, desc=self.name, leave=False, disable=None, ncols=79)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """One further."""
        values = (f"{name}={logs[name]:.3g}" for name in ("loss", "val_loss") if name in logs)
        self.bar.set_postfix_str(", ".join(values), refresh=False)
        self.bar.update()

    def on_train_end(self) -> None:
        """Clears the line; KeyboardInterrupt if Ctrl-C ended the training."""
        self.bar.close()
        if self.loop.history.stopped == INTERRUPTED:
            raise KeyboardInterrupt


def fit(
    model: Model,
    name: str,
    x: Tensor,
    y: Tensor,
    schedule: Callback | None = None,
    **options: Any,
) -> History:
    """``model.fit`` with a bar of that name; KeyboardInterrupt after Ctrl-C.

    >>> import torch
    >>> model = Model(torch.nn.Linear(1, 1))
    >>> model.compile("sgd", "mse")
    >>> len(fit(model, "line", torch.ones(4, 1), torch.ones(4, 1), epochs=3))
    3
    """
    callbacks = [Bar(name)] if schedule is None else [Bar(name), schedule]
    return model.fit(x, y, verbose=0, callbacks=callbacks, **options)
