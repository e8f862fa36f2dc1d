"""What a model is compiled with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from pyneural.training.checks import check, check_count
from pyneural.training.losses.functions import Loss
from pyneural.training.losses.metrics import Metric
from pyneural.training.solvers.descent import Descent

_HALVES = (torch.float16, torch.bfloat16)


@dataclass
class CompileConfig:
    """What ``Model.compile`` was given, with the optimiser once there is something to optimise.

    Args:
        optimizer: see ``optimizers.make_optimizer``.
        loss: minimised; None where the model has ``losses`` of its own.
        metrics: shown beside it.
        mixed_precision: dtype of the products under torch.autocast; None for that of the weights.
        clip_norm: largest norm of the gradient of all weights together; None for any.
        accumulation_steps: number of parts that a batch is cut into, to need less memory.
    """

    optimizer: Any
    loss: Loss | None
    metrics: list[Metric] = field(default_factory=list)
    mixed_precision: torch.dtype | None = None
    clip_norm: float | None = None
    accumulation_steps: int = 1
    made: torch.optim.Optimizer | None = None

    def __post_init__(self) -> None:
        if self.mixed_precision not in (None, *_HALVES):
            raise ValueError(
                f"compile: mixed_precision: expected torch.float16, torch.bfloat16 or None, got "
                f"{self.mixed_precision}; for float64 use model.double()"
            )
        good = self.clip_norm is None or 0 < self.clip_norm < math.inf
        check(good, "compile: clip_norm", "a number > 0", self.clip_norm, "write 1.0")
        check_count("compile: accumulation_steps", self.accumulation_steps, 1)

    def phase(self, epochs: int) -> Descent:
        """The training of so many epochs; the optimiser is made."""
        return Descent(
            self.made,  # type: ignore[arg-type]
            epochs=epochs,
            mixed_precision=self.mixed_precision,
            clip_norm=self.clip_norm,
            accumulation_steps=self.accumulation_steps,
        )
