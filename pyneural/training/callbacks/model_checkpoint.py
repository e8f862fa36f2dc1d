"""Saves the model after epochs."""

from __future__ import annotations

import os

from pyneural.training.callback import Callback
from pyneural.training.callbacks.monitor import Monitor
from pyneural.training.state.file import check_writable


class ModelCheckpoint(Callback):
    """Saves the model, to be read by ``load_model`` or ``Model.load``, after each epoch.

    It holds no optimiser: to go on with an interrupted training, give ``fit`` a checkpoint.

    Args:
        filepath: may have fields: ``"run-{epoch:02d}-{val_loss:.3f}.safetensors"``, epoch from 1.
        monitor: quantity of which the best is kept.
        save_best_only: whether to save only epochs that are better than all before.
        mode: "min", "max" or "auto".

    Raises:
        OSError: its directory cannot be written.
        ValueError: at the first epoch, no quantity of a name that is used.

    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "best.safetensors")
    >>> ModelCheckpoint(path, save_best_only=True).monitor.name
    'val_loss'
    """

    state_attributes = ("monitor",)

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
    ) -> None:
        self.filepath, self.save_best_only = os.fspath(filepath), save_best_only
        self.monitor = Monitor("ModelCheckpoint", monitor, mode)
        check_writable(os.path.dirname(self.filepath) or ".", "ModelCheckpoint: filepath")

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Saves, if this epoch is to be saved."""
        better = not self.save_best_only or self.monitor.better(logs)
        if not better or not self.run.process_group.writes:
            return
        try:
            path = self.filepath.format(epoch=epoch + 1, **logs)
        except KeyError as error:
            raise ValueError(
                f"ModelCheckpoint: filepath: expected fields of epoch, {', '.join(logs)}, got "
                f"{error}; correct {self.filepath!r}"
            ) from error
        self.run.model.save(path)
