"""What a callback may do, and at which moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from pyneural.training.batches import Batch
    from pyneural.training.loop import Loop


class Callback:
    """Does nothing at each moment of a training; subclasses override what they need.

    ``self.loop`` is the training: its ``model``, ``optimizer``, ``history``, ``epoch``, ``step``
    and ``stop(reason)``. The hooks of a batch cost nothing unless they are overridden.

    >>> class Count(Callback):
    ...     epochs = 0
    ...
    ...     def on_epoch_end(self, epoch, logs):
    ...         self.epochs += 1
    """

    loop: Loop

    def on_train_begin(self) -> None:
        """Before the first epoch, or before going on after a resumption."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before each epoch, counted from 0."""

    def on_gradients(self, batch: Batch, loss: Tensor) -> None:
        """After the gradients of a batch are known and before the weights change."""

    def on_train_batch_end(self) -> None:
        """After the weights have changed."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """After each epoch; ``logs`` goes into the history and may be added to."""

    def on_train_end(self) -> None:
        """After the last epoch, or where the training was stopped."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs of the callback, in tensors and JSON's types."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave; called after ``on_train_begin``."""
