"""What a model is compiled with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyneural.training.checks import check, check_count
from pyneural.training.losses.functions import Loss
from pyneural.training.losses.metrics import Metric
from pyneural.training.solvers.descent import Descent
from pyneural.training.solvers.optimizers import make_optimizer


@dataclass
class CompileConfig:
    """What ``Model.compile`` was given.

    Args:
        descent: the phase of ``fit``; with the optimiser itself once there is something to
            optimise.
        loss: minimised; None where the model has ``losses`` of its own.
        metrics: shown beside it.
    """

    descent: Descent
    loss: Loss | None
    metrics: list[Metric]

    def __post_init__(self) -> None:
        descent = self.descent
        halves, where = (torch.float16, torch.bfloat16), "compile: mixed_precision"
        expected, remedy = "torch.float16, torch.bfloat16 or None", "for float64 use model.double()"
        good = descent.mixed_precision in (None, *halves)
        check(good, where, expected, descent.mixed_precision, remedy)
        good = descent.clip_norm is None or 0 < descent.clip_norm < math.inf
        check(good, "compile: clip_norm", "a number > 0", descent.clip_norm, "write 1.0")
        check_count("compile: accumulation_steps", descent.accumulation_steps, 1)

    def make_optimizer(self, parameters: Iterable[Tensor]) -> None:
        """Makes the optimiser of these parameters, or checks one that is made."""
        made = make_optimizer(self.descent.optimizer, parameters)  # type: ignore[arg-type]
        self.descent = replace(self.descent, optimizer=made)
