"""Callbacks that watch a quantity of the epochs: early stopping, and saving the best model."""

import math
import os
from collections.abc import Mapping
from numbers import Real
from typing import Any

from torch import Tensor

from pyneural.errors import is_whole, whole
from pyneural.training.callback import Callback
from pyneural.training.checks import check
from pyneural.training.evaluation import by_name
from pyneural.training.losses.metrics import direction
from pyneural.training.paths import check_file
from pyneural.training.state.stateful import Stateful

_MODES = ("auto", "min", "max")


class Monitor(Stateful):
    """Whether a quantity of the epoch is the best so far.

    Args:
        callback: for the text of errors.
        name: of the quantity, as it stands in the history.
        mode: "min" or "max" is better; "auto" tells that from the name (see ``metrics.direction``)
            or is a ValueError.
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
        known = direction(name) if mode == "auto" else mode
        got = f"'auto' for {name!r}, of which it is not known which is better"
        check(known is not None, f"{callback}: mode", "'min' or 'max'", got, "write one of them")
        self.callback, self.name, self.min_delta, self.mode = callback, name, min_delta, known
        self.reset()

    def reset(self) -> None:
        """Forgets what was seen."""
        self.best: float | None = None

    def check(self, run: Any) -> None:
        """ValueError, before the first epoch, where there will be no such quantity."""
        known = run.quantities()
        if known is not None:
            self.value(dict.fromkeys(known, 0.0))

    def value(self, logs: Mapping[str, float]) -> float:
        """The quantity of this epoch."""
        remedy = "give fit validation_data" if self.name.startswith("val_") else "correct it"
        expected = f"one of {', '.join(logs)}"
        check(self.name in logs, f"{self.callback}: monitor", expected, repr(self.name), remedy)
        return logs[self.name]

    def better(self, logs: Mapping[str, float]) -> bool:
        """Whether this epoch is the best so far, which is then remembered."""
        value = self.value(logs)
        good = not math.isnan(value) and (self.best is None or self.above(value, self.best))
        if good:
            self.best = value
        return good

    def above(self, value: float, other: float) -> bool:
        """Whether a value is better than another one by more than ``min_delta``."""
        if self.mode == "max":
            return value - self.min_delta > other
        return value + self.min_delta < other


class EarlyStopping(Callback):
    """Stops a training that has ceased to get better (Prechelt, 1998).

    Args:
        monitor: name of the quantity in the history; without it the first epoch is a ValueError.
        min_delta: smallest change that counts.
        patience: epochs without a better value after which to stop, >= 0; the first one counts.
        mode: "min", "max" or "auto".
        restore_best_weights: whether to go back to the weights of the best epoch in the end.
        baseline: value that must be reached; epochs that are better than those before, but not than
            it, do not count as such for ``patience``.
        start_from_epoch: number of epochs that are not looked at.
    """

    state_attributes = ("monitor", "waited", "best_epoch", "best_weights")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        restore_best_weights: bool = False,
        baseline: float | None = None,
        start_from_epoch: int = 0,
    ) -> None:
        patience = whole("EarlyStopping: patience", patience)
        start_from_epoch = whole("EarlyStopping: start_from_epoch", start_from_epoch)
        check(patience >= 0, "EarlyStopping: patience", ">= 0", patience)
        self.monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience, self.restore_best_weights = patience, restore_best_weights
        self.baseline, self.start_from_epoch = baseline, start_from_epoch
        self.waited, self.best_epoch = 0, 0
        self.best_weights: dict[str, Tensor] | None = None

    def on_train_begin(self) -> None:
        """Forgets what was seen before."""
        self.monitor.check(self.run)
        self.monitor.reset()
        self.waited, self.best_epoch, self.best_weights = 0, 0, None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Keeps the weights, or counts an epoch that was not better."""
        if epoch < self.start_from_epoch:
            return
        self.waited += 1
        if self.monitor.better(logs):
            self.best_epoch = epoch
            value = self.monitor.value(logs)
            if self.baseline is None or self.monitor.above(value, self.baseline):
                self.waited = 0
            if self.restore_best_weights:
                state = self.run.model.state_dict()
                self.best_weights = {name: value.clone() for name, value in state.items()}
            return
        if self.waited >= self.patience and epoch > 0:
            number = math.nan if self.monitor.best is None else self.monitor.best
            best = f"best in epoch {self.best_epoch + 1} ({number:.4g})"
            self.run.stop(f"EarlyStopping: {self.monitor.name} was {best}")

    def on_train_end(self) -> None:
        """Puts the best weights back."""
        if self.best_weights is not None:
            self.run.model.load_state_dict(self.best_weights)


class ModelCheckpoint(Callback):
    """Saves the model, to be read by ``load_model`` or ``Model.load``, after each epoch.

    It holds no optimiser: to go on with an interrupted training, give ``fit`` a checkpoint.

    Args:
        filepath: may have fields: ``"run-{epoch:02d}-{val_loss:.3f}.safetensors"``, epoch and, with
            a number as ``save_freq``, batch counted from 1; OSError if it cannot be written, or is
            a folder.
        monitor: quantity of which the best is kept.
        save_best_only: whether to save only when that quantity is the best so far.
        mode: "min", "max" or "auto".
        save_freq: "epoch", or the number of batches, counted through the epochs, after which to
            save; the quantities are then the means so far in the epoch.
        initial_value_threshold: value that the best must be better than; None for any.
    """

    state_attributes = ("monitor", "batches")

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        self.filepath, self.save_best_only = os.fspath(filepath), save_best_only
        good, where = save_freq == "epoch", "ModelCheckpoint: save_freq"
        good = good or (is_whole(save_freq) and int(save_freq) >= 1)
        expected = "'epoch' or a whole number of batches >= 1"
        check(good, where, expected, repr(save_freq), "write 'epoch'")
        self.save_freq, self.batches = save_freq, 0  # since the last save
        good = save_freq == "epoch" or not save_best_only or not monitor.startswith("val_")
        expected, got = "a quantity of the training, as save_freq counts batches", repr(monitor)
        check(good, "ModelCheckpoint: monitor", expected, got, "write 'loss'")
        known = mode if save_best_only or mode != "auto" else "min"  # else it is not asked
        self.monitor = Monitor("ModelCheckpoint", monitor, known)
        given, where = initial_value_threshold, "ModelCheckpoint: initial_value_threshold"
        number = isinstance(given, Real) and not isinstance(given, bool) and not math.isnan(given)
        check(given is None or number, where, "a number", repr(given), "leave it out")
        self.monitor.best = None if given is None else float(given)
        check_file(self.filepath, "ModelCheckpoint: filepath")

    def on_train_begin(self) -> None:
        """Looks whether there will be such a quantity."""
        if self.save_best_only:
            self.monitor.check(self.run)

    def on_train_batch_end(self) -> None:
        """Saves, if it is time and the mean so far in the epoch is to be saved."""
        if self.save_freq == "epoch":
            return
        self.batches += 1
        if self.batches >= int(self.save_freq):
            self.batches = 0
            run = self.run
            run.read()  # from the device; of all processes, as the mean of the epoch is
            means = run.meter.means(run.process_group, run.device)
            self._save(by_name(run.model, run.names, means), {"batch": run.step})

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Saves, if this epoch is to be saved."""
        if self.save_freq == "epoch":
            self._save(logs, {})

    def _save(self, logs: Mapping[str, float], place: Mapping[str, int]) -> None:
        better = not self.save_best_only or self.monitor.better(logs)
        if not better or not self.run.process_group.writes:
            return
        fields = {"epoch": self.run.epoch + 1, **place}
        try:
            path = self.filepath.format(**fields, **logs)
        except KeyError as error:
            raise ValueError(
                f"ModelCheckpoint: filepath: expected fields of {', '.join([*fields, *logs])}, got "
                f"{error}; correct {self.filepath!r}"
            ) from error
        self.run.model.save(path)
