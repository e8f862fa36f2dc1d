"""The loop over epochs and batches, which may be stopped and resumed at any batch."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyneural.training import random_state
from pyneural.training.batches import Batch, Batches, LoaderBatches
from pyneural.training.callbacks.base import Callback
from pyneural.training.distributed import ProcessGroup
from pyneural.training.epoch_bar import SILENT, EpochBar
from pyneural.training.history import History
from pyneural.training.interrupt import Interrupt
from pyneural.training.meter import Meter
from pyneural.training.update import CompileConfig, Update

if TYPE_CHECKING:
    from pyneural.training.model import Model
    from pyneural.training.resume import FitCheckpoint

INTERRUPTED = "interrupted"


class Loop:
    """The training loop.

    Args:
        model: trained.
        compile_config: with its optimiser made.
        batches: to train on.
        validation: measured after each epoch, or None.
        epochs: number of all, those before a resumption included.
        callbacks: told of each moment, in this order.
        verbose: see ``EpochBar``.
        process_group: the processes.
    """

    def __init__(
        self,
        model: Model,
        compile_config: CompileConfig,
        batches: Batches,
        validation: Batches | None,
        epochs: int,
        callbacks: Sequence[Callback],
        verbose: int,
        process_group: ProcessGroup,
    ) -> None:
        self.model, self.compile_config = model, compile_config
        self.batches, self.validation = batches, validation
        self.epochs, self.callbacks, self.process_group = epochs, list(callbacks), process_group
        self.device = next(model.parameters()).device
        self.update = Update(process_group.wrap(model), compile_config, self.device)
        self.optimizer = self.update.optimizer
        self.history = History()
        self.bar = EpochBar(len(batches), verbose if process_group.writes else SILENT)
        self.meter = Meter(compile_config.metrics, self.device)
        self.epoch, self.step = 0, 0  # where the training is
        own = batches.loader.generator if isinstance(batches, LoaderBatches) else None
        self.generator: torch.Generator | None = own
        self.random_at_epoch = random_state.capture(own)
        self.random_now: dict[str, Tensor] | None = None  # of a checkpoint inside an epoch

    def stop(self, reason: str) -> None:
        """Ends the training after this batch; in ``on_gradients`` before its update."""
        self.history.stopped = reason

    def run(self, checkpoint: FitCheckpoint | None = None) -> History:
        """Trains until the last epoch, or until it is stopped; returns the curves."""
        for callback in self.callbacks:
            callback.loop = self
            callback.on_train_begin()
        if checkpoint is not None and checkpoint.load(self):
            # Ctrl-C asked for a pause, any other reason for an end.
            finished = self.history.stopped not in (None, INTERRUPTED)
            self.history.stopped = self.history.stopped if finished else None
        try:
            with Interrupt() as interrupt:
                while self.epoch < self.epochs and self.history.stopped is None:
                    self._run_epoch(interrupt, checkpoint)
        finally:
            self.bar.close()
            self.model.eval()
            self.update.model = self.model  # lets go of DistributedDataParallel
        for callback in self.callbacks:
            callback.on_train_end()
        return self.history

    def evaluate(self, batches: Batches) -> dict[str, float]:
        """Means of loss and metrics over batches, without training."""
        return evaluate(self.model, self.compile_config, batches, self.device, self.process_group)

    def _run_epoch(self, interrupt: Interrupt, checkpoint: FitCheckpoint | None) -> None:
        for callback in self.callbacks if self.step == 0 else ():
            callback.on_epoch_begin(self.epoch)
        self.model.train()
        self.bar.begin(f"Epoch {self.epoch + 1}/{self.epochs}", self.step)
        watching = [c for c in self.callbacks if _overrides(c, "on_gradients")]
        following = [c for c in self.callbacks if _overrides(c, "on_train_batch_end")]
        update, meter, clock = self.update, self.meter, time.perf_counter
        for batch in self._batches():
            loss, prediction = update.gradients(batch)
            for callback in watching:
                callback.on_gradients(batch, loss)
            if self.history.stopped is not None:  # by a loss that is not finite
                self.history.append(self.epoch, {"loss": float("nan")})
                return
            update.apply()
            meter.add(loss, prediction, batch.y, batch.samples)
            self.step += 1
            for callback in following:
                callback.on_train_batch_end()
            if self.history.stopped is not None:
                self._end_epoch()
                break
            now = clock()
            if now >= self.bar.due:
                self.bar.show(self.step, meter.means)
            if checkpoint is not None and now >= checkpoint.due and self.step < len(self.batches):
                checkpoint.save(self)
            alone = self.process_group.size == 1
            if interrupt.requested and alone and self.step < len(self.batches):
                self.stop(INTERRUPTED)
                break
        else:
            self._end_epoch()
            interrupted = self.process_group.any(interrupt.requested, self.device)
            if interrupted and self.epoch < self.epochs:
                self.stop(INTERRUPTED)
        if checkpoint is not None:
            checkpoint.save(self)

    def _batches(self) -> Iterator[Batch]:
        """The batches that are left of the epoch."""
        if self.random_now is None:
            self.random_at_epoch = random_state.capture(self.generator)
            return self.batches.epoch(self.epoch)
        # Inside an epoch: what was drawn before is drawn again, and then forgotten.
        random_state.restore(self.random_at_epoch, self.generator)
        batches = self.batches.epoch(self.epoch)
        for _ in range(self.step):
            next(batches)
        random_state.restore(self.random_now, self.generator)
        self.random_now = None
        return batches

    def _end_epoch(self) -> None:
        logs = self.meter.means(self.process_group)
        if self.validation is not None:
            beside = self.evaluate(self.validation)
            logs |= {f"val_{name}": value for name, value in beside.items()}
        before = self.history.history.get("loss", [])
        if not math.isfinite(logs["loss"]) and all(map(math.isfinite, before)):
            warnings.warn(
                f"fit: the loss became {logs['loss']} in epoch {self.epoch + 1}; "
                "callbacks=[TerminateOnNaN()] finds the batch and the layer",
                stacklevel=2,
            )
        for callback in self.callbacks:
            callback.on_epoch_end(self.epoch, logs)
        self.history.append(self.epoch, logs)
        self.bar.end(self.step, logs)
        self.meter = Meter(self.compile_config.metrics, self.device)
        self.epoch, self.step = self.epoch + 1, 0


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    compile_config: CompileConfig,
    batches: Batches,
    device: torch.device,
    process_group: ProcessGroup,
    verbose: int = SILENT,
) -> dict[str, float]:
    """Means of loss and metrics over batches, with the model in evaluation mode."""
    meter = Meter(compile_config.metrics, device)
    model.eval()
    bar = EpochBar(len(batches), verbose)
    for batch in bar.over("evaluate", batches.epoch(0), meter.means):
        with compile_config.autocast(device):
            prediction = model(batch.x)
        loss = compile_config.loss(prediction, batch.y, batch.weight)
        meter.add(loss, prediction, batch.y, batch.samples)
    return meter.means(process_group)


def _overrides(callback: Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(Callback, hook)
