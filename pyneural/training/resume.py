"""The whole state of a ``fit`` in a checkpoint, so that it goes on with the same bits."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import Any

from pyneural.training import random_state, state_tree
from pyneural.training.batches import TensorBatches
from pyneural.training.checkpoint import (
    CheckpointError,
    check_writable,
    load_checkpoint,
    previous_path,
    save_checkpoint,
)
from pyneural.training.loop import Loop


class FitCheckpoint:
    """A file with weights, optimiser, callbacks, random numbers, curves and place in the epoch.

    Args:
        path: of the file, ``*.safetensors``.
        every: seconds between two; besides, one is written after each epoch, and where several
            processes train only then.
        resume: whether to go on from the file if there is one.

    Raises:
        OSError: its directory cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], every: float, resume: bool) -> None:
        self.path, self.every, self.resume = Path(path), every, resume
        if not every >= 0:
            raise ValueError(f"fit: every: expected seconds >= 0, got {every}; correct it")
        check_writable(self.path.parent, "fit: checkpoint")
        self.due = 0.0  # on the clock of time.perf_counter

    def load(self, loop: Loop) -> bool:
        """Brings a loop to where the checkpoint was written; False if there is none to go on from.

        Raises:
            CheckpointError: all are damaged, or of another training.
        """
        self._put_off(loop)
        if not self.resume or not _exists(self.path):
            return False
        tensors, record, refused = load_checkpoint(self.path)
        for text in refused:
            warnings.warn(f"{text}; the one before it is used", stacklevel=2)
        self._check(loop, record.get("config", {}))
        tree = state_tree.join(record["tree"], tensors)
        loop.model.load_state_dict(tree["model"])
        loop.optimizer.load_state_dict(tree["optimizer"])
        if loop.update.scaler is not None:
            loop.update.scaler.load_state_dict(tree["scaler"])
        for callback, state in zip(loop.callbacks, tree["callbacks"], strict=True):
            callback.load_state_dict(state)
        loop.history.epoch, loop.history.history = record["epochs"], record["curves"]
        loop.history.stopped = record["stopped"]
        loop.epoch, loop.step = record["epoch"], record["step"]
        if loop.process_group.writes:
            loop.meter.load_state(tree["meter"])
        if isinstance(loop.batches, TensorBatches):
            loop.batches.seed = record["seed"]
        states = tree["random"]
        now = {name: states[name][loop.process_group.rank] for name in states}
        random_state.restore(now, loop.generator)
        if loop.step > 0:
            loop.random_at_epoch, loop.random_now = tree["random_at_epoch"], now
        return True

    def save(self, loop: Loop) -> None:
        """Writes the checkpoint; where that fails, warns, and training goes on."""
        # Each process has random numbers of its own; all take part in gathering them.
        states = random_state.capture(loop.generator)
        random = {name: loop.process_group.gather(state) for name, state in states.items()}
        self._put_off(loop)
        if not loop.process_group.writes:
            return
        scaler = loop.update.scaler
        tree = {
            "model": loop.model.state_dict(),
            "optimizer": loop.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "callbacks": [callback.state_dict() for callback in loop.callbacks],
            "meter": loop.meter.state(),
            "random": random,
            "random_at_epoch": loop.random_at_epoch,
        }
        plain, tensors = state_tree.split(tree)
        batches = loop.batches
        record = {
            "config": _config(loop),
            "epochs": loop.history.epoch,
            "curves": loop.history.history,
            "stopped": loop.history.stopped,
            "epoch": loop.epoch,
            "step": loop.step,
            "seed": batches.seed if isinstance(batches, TensorBatches) else None,
            "tree": plain,
        }
        try:
            save_checkpoint(self.path, tensors, record)
        except OSError as error:
            warnings.warn(f"checkpoint: {self.path} was not written ({error})", stacklevel=2)

    def _put_off(self, loop: Loop) -> None:
        # The clocks of several processes differ, and each save is one of all of them.
        alone = loop.process_group.size == 1
        self.due = time.perf_counter() + self.every if alone else float("inf")

    def _check(self, loop: Loop, saved: dict[str, Any]) -> None:
        for name, mine in _config(loop).items():
            if saved.get(name) != mine:
                raise CheckpointError(
                    f"fit: {name}: expected {saved.get(name)}, as in {self.path}, got {mine}; use "
                    "the options of the first run, or start without resume=True"
                )


def _exists(path: Path) -> bool:
    return path.exists() or previous_path(path).exists()


def _config(loop: Loop) -> dict[str, Any]:
    """What a training must have in common with the one that it continues."""
    compile_config, batches = loop.compile_config, loop.batches
    return {
        "weights": {name: list(value.shape) for name, value in loop.model.state_dict().items()},
        "optimizer": type(loop.optimizer).__name__,
        "loss": compile_config.loss.name,
        "metrics": [metric.name for metric in compile_config.metrics],
        "callbacks": [type(callback).__name__ for callback in loop.callbacks],
        "samples": batches.samples,
        "updates an epoch": len(batches),
        "batch_size": batches.batch_size if isinstance(batches, TensorBatches) else None,
        "mixed_precision": str(compile_config.mixed_precision),
        "accumulation_steps": compile_config.accumulation_steps,
        "processes": loop.process_group.size,
    }
