"""What ``Model.compile`` was given, and the optimiser that is made of it."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from pyneural.training.checks import check, check_count
from pyneural.training.losses.functions import Loss
from pyneural.training.losses.metrics import Metric
from pyneural.training.losses.several import LossesOfOutputs
from pyneural.training.solvers.descent import Descent
from pyneural.training.solvers.optimizers import OptimizerFactory, make_optimizer


@dataclass
class CompileConfig:
    """What ``Model.compile`` was given."""

    descent: Descent  # the phase of ``fit``; with its optimiser once there is something to optimise
    loss: Loss | LossesOfOutputs | None  # None where the model has ``losses`` of its own
    metrics: list[Metric]  # shown beside it
    penalised: list[Any] = field(init=False, default_factory=list)  # layers with a regulariser
    given: str | torch.optim.Optimizer | OptimizerFactory = field(init=False)  # the optimiser

    def __post_init__(self) -> None:
        descent = self.descent
        self.given = descent.optimizer  # type: ignore[assignment]
        halves, where = (torch.float16, torch.bfloat16), "compile: mixed_precision"
        expected, remedy = "torch.float16, torch.bfloat16 or None", "for float64 use model.double()"
        good = descent.mixed_precision in (None, *halves)
        check(good, where, expected, descent.mixed_precision, remedy)
        good = descent.clip_norm is None or 0 < descent.clip_norm < math.inf
        check(good, "compile: clip_norm", "a number > 0", descent.clip_norm, "write 1.0")
        check_count("compile: accumulation_steps", descent.accumulation_steps, 1)

    def quantities(self) -> list[str] | None:
        """Names of the curves of a pass; None where the model has its own."""
        return None if self.loss is None else [*self.loss.curves, *(m.name for m in self.metrics)]

    def make_optimizer(self, model: nn.Module) -> None:
        """Makes the optimiser, of the parameters that require a gradient now.

        One that was made before is made anew where it lacks one of them, as of a layer that was
        added, replaced or unfrozen, or holds one that is gone: with the options that it has now,
        and its state (momentum, ...) of the others. One that the user made is left alone.
        """
        names = ("kernel_regularizer", "bias_regularizer")
        self.penalised = [
            layer
            for layer in model.modules()
            if any(getattr(layer, name, None) is not None for name in names)
        ]
        trained = [p for p in model.parameters() if p.requires_grad]
        made = self.descent.optimizer
        if not isinstance(made, torch.optim.Optimizer) or made is self.given:
            made = make_optimizer(made, trained)  # type: ignore[arg-type]
        elif not {id(p) for p in trained} <= held_by(made) <= {id(p) for p in model.parameters()}:
            made = _continued(made, make_optimizer(self.given, trained))
        self.descent = replace(self.descent, optimizer=made)

    def check_optimizer(self, model: nn.Module) -> None:
        """ValueError where a parameter that requires a gradient would not be trained."""
        held = held_by(self.descent.optimizer)  # type: ignore[arg-type]
        named = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
        left_out = [name for name, p in named if id(p) not in held]
        expected = "one that holds each parameter that requires a gradient"
        got = f"one without {', '.join(left_out[:3])}"
        remedy = "add them by add_param_group, or write requires_grad_(False) for them"
        check(not left_out, "fit: optimizer", expected, got, remedy)


def held_by(optimizer: torch.optim.Optimizer) -> set[int]:
    """Identities of the parameters of an optimiser."""
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _continued(before: torch.optim.Optimizer, new: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The new optimiser with the options of the one before, and its state of what both hold."""
    if len(before.param_groups) == len(new.param_groups):
        for old, group in zip(before.param_groups, new.param_groups, strict=True):
            group.update({name: value for name, value in old.items() if name != "params"})
    for group in new.param_groups:
        for parameter in group["params"]:
            if parameter in before.state:
                new.state[parameter] = before.state[parameter]
    return new
