"""One update of the weights: forward, loss, backward, clipping, the optimiser's step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyneural.training.batches import Batch
from pyneural.training.losses import Loss
from pyneural.training.metrics import Metric


@dataclass
class CompileConfig:
    """What ``Model.compile`` was given, with the optimiser once there is something to optimise.

    Args:
        optimizer: see ``optimizers.make_optimizer``.
        loss: minimised.
        metrics: shown beside it.
        mixed_precision: dtype of the products under torch.autocast; None for that of the weights.
        clip_norm: largest norm of the gradient of all weights together; None for any.
        accumulation_steps: number of parts that a batch is cut into, to need less memory.
    """

    optimizer: Any
    loss: Loss
    metrics: list[Metric] = field(default_factory=list)
    mixed_precision: torch.dtype | None = None
    clip_norm: float | None = None
    accumulation_steps: int = 1
    made: torch.optim.Optimizer | None = None

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager:
        """Context of a forward pass."""
        if self.mixed_precision is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, self.mixed_precision)


class Update:
    """Makes updates of a model.

        g = sum_k n_k / N  d loss(part k) / d weights,   k = 1 .. accumulation_steps

    so that a batch cut into parts gives the gradient of the whole batch.

    Args:
        model: called with x; a DistributedDataParallel where several processes train.
        compile_config: its optimiser is made.
        device: of the weights.
    """

    def __init__(
        self, model: Callable[[Tensor], Tensor], compile_config: CompileConfig, device: torch.device
    ) -> None:
        if compile_config.made is None:
            raise RuntimeError(
                "Update: compile_config: expected a made optimiser, got none; make it first"
            )
        self.model, self.compile_config, self.device = model, compile_config, device
        self.optimizer, self.loss = compile_config.made, compile_config.loss
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        # Gradients in float16 would vanish below 6e-8.
        scales = compile_config.mixed_precision == torch.float16
        self.scaler = torch.amp.GradScaler(device.type) if scales else None

    def gradients(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sets the gradients; returns loss, [], and prediction, [N, ...], without graphs."""
        self.optimizer.zero_grad()
        parts = self.compile_config.accumulation_steps
        if parts == 1:
            return self._part(batch.x, batch.y, batch.weight, batch.share)
        xs, ys = batch.x.chunk(parts), batch.y.chunk(parts)
        weights = [None] * len(xs) if batch.weight is None else batch.weight.chunk(parts)
        losses, predictions = [], []
        for number, (x, y, weight) in enumerate(zip(xs, ys, weights, strict=True), 1):
            fraction = len(x) / len(batch.x)
            with self._gradients_wait(number < len(xs)):
                loss, prediction = self._part(x, y, weight, batch.share * fraction)
            losses.append(loss * fraction)
            predictions.append(prediction)
        return torch.stack(losses).sum(), torch.cat(predictions)

    def apply(self) -> None:
        """Changes the weights by the gradients that are set."""
        clip_norm = self.compile_config.clip_norm
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, clip_norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def _part(
        self, x: Tensor, y: Tensor, weight: Tensor | None, factor: float
    ) -> tuple[Tensor, Tensor]:
        if self.compile_config.mixed_precision is None:
            prediction = self.model(x)
        else:
            with self.compile_config.autocast(self.device):
                prediction = self.model(x)
        loss = self.loss(prediction, y, weight)
        scaled = loss if factor == 1.0 else loss * factor
        (scaled if self.scaler is None else self.scaler.scale(scaled)).backward()
        return loss.detach(), prediction.detach()

    def _gradients_wait(self, wait: bool) -> contextlib.AbstractContextManager:
        """Processes exchange gradients once a batch, not once a part."""
        if wait and isinstance(self.model, torch.nn.parallel.DistributedDataParallel):
            return self.model.no_sync()
        return contextlib.nullcontext()
