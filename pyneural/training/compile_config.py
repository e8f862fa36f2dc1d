"""What ``Model.compile`` was given, and the optimiser that is made of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from pyneural.training.checks import check, check_count
from pyneural.training.losses.functions import Loss
from pyneural.training.losses.metrics import Metric
from pyneural.training.losses.several import LossesOfOutputs
from pyneural.training.solvers.descent import Descent, Optimizer
from pyneural.training.solvers.optimizers import make_optimizer


@dataclass
class CompileConfig:
    """What ``Model.compile`` was given."""

    descent: Descent  # the phase of ``fit``; with its optimiser once there is something to optimise
    loss: Loss | LossesOfOutputs | None  # None where the model has ``losses`` of its own
    metrics: list[Metric]  # shown beside it
    penalised: list[Any] = field(init=False, default_factory=list)  # layers with a regulariser
    given: dict[str, Optimizer] = field(init=False)  # optimisers by their parts; "" is the model
    divided: str | None = field(init=False, default=None)  # what divides batches, for errors

    def __post_init__(self) -> None:
        descent = self.descent
        self.given = self._by_part()
        halves, where = (torch.float16, torch.bfloat16), "compile: mixed_precision"
        expected, remedy = "torch.float16, torch.bfloat16 or None", "for float64 use model.double()"
        good = descent.mixed_precision in (None, *halves)
        check(good, where, expected, descent.mixed_precision, remedy)
        good = descent.clip_norm is None or 0 < descent.clip_norm < math.inf
        check(good, "compile: clip_norm", "a number > 0", descent.clip_norm, "write 1.0")
        where = "compile: accumulation_steps"
        check_count(where, descent.accumulation_steps, 1)
        if descent.accumulation_steps > 1:
            self.divide(where)

    def divide(self, where: str) -> None:
        """Says that each batch is divided, among processes or in turn; ``where`` is for errors.

        ValueError where the loss of a batch is not the mean of those of its parts.
        """
        self.divided = where
        for loss in self._losses().values():
            loss.check_parts(where)

    def check_targets(self, y: Any) -> None:
        """ValueError where targets of a batch that is divided are ignored."""
        if self.divided is None:
            return
        targets = {"": y}
        if isinstance(self.loss, LossesOfOutputs):
            targets = self.loss.outputs("loss: y", y, self.loss.weights)
        for name, loss in self._losses().items():
            loss.check_ignored(self.divided, targets[name])

    def _losses(self) -> dict[Any, Loss]:
        """Those of each output; "" is the only one."""
        if isinstance(self.loss, LossesOfOutputs):
            return {name: loss for name, loss in self.loss.losses.items() if loss is not None}
        return {} if self.loss is None else {"": self.loss}

    def quantities(self) -> list[str] | None:
        """Names of the curves of a pass; None where the model has its own."""
        return None if self.loss is None else [*self.loss.curves, *(m.name for m in self.metrics)]

    @property
    def can_wait(self) -> bool:
        """Whether the optimisers can be made once there are weights."""
        return all(isinstance(given, str) or callable(given) for given in self.given.values())

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The one that trains the model; RuntimeError if there are several, or none yet."""
        made, expected = self.descent.optimizer, "expected a model with"
        if isinstance(made, Mapping):
            remedy = "those of a training are run.optimizers of its callbacks"
            got = f"one with several, of {' and '.join(made)}"
            raise RuntimeError(f"optimizer: {expected} one optimizer, got {got}; {remedy}")
        if not isinstance(made, torch.optim.Optimizer):
            got = "one that waits for its input shape"
            remedy = "call fit, or give the first layer an input_shape"
            raise RuntimeError(f"optimizer: {expected} weights, got {got}; {remedy}")
        return made

    def make_optimizer(self, model: nn.Module) -> None:
        """Makes the optimisers, of the parameters that require a gradient now.

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
        made = self._by_part()
        for part, optimizer in made.items():
            made[part] = self._optimizer_of(_part_of(model, part), optimizer, self.given[part])
        several = isinstance(self.descent.optimizer, Mapping)
        self.descent = replace(self.descent, optimizer=made if several else made[""])

    def check_optimizer(self, model: nn.Module) -> None:
        """ValueError where a parameter that requires a gradient would not be trained."""
        held = set().union(*map(held_by, self._by_part().values()))  # type: ignore[arg-type]
        named = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
        left_out = [name for name, p in named if id(p) not in held]
        expected = "one that holds each parameter that requires a gradient"
        got = f"one without {', '.join(left_out[:3])}"
        remedy = "add them by add_param_group, or write requires_grad_(False) for them"
        check(not left_out, "fit: optimizer", expected, got, remedy)

    def _by_part(self) -> dict[str, Optimizer]:
        optimizer = self.descent.optimizer
        return dict(optimizer) if isinstance(optimizer, Mapping) else {"": optimizer}

    def _optimizer_of(
        self, part: nn.Module, made: Optimizer, given: Optimizer
    ) -> torch.optim.Optimizer:
        trained = [p for p in part.parameters() if p.requires_grad]
        if not isinstance(made, torch.optim.Optimizer) or made is given:
            return make_optimizer(made, trained)
        if {id(p) for p in trained} <= held_by(made) <= {id(p) for p in part.parameters()}:
            return made
        return _continued(made, make_optimizer(given, trained))


def _part_of(model: nn.Module, part: str) -> nn.Module:
    names = [name for name, _ in model.named_children()]
    expected, remedy = f"names of submodules, as {', '.join(names)}", "correct it"
    good = part == "" or part in dict(model.named_modules())
    check(good, "compile: optimizer", expected, repr(part), remedy)
    return model.get_submodule(part)


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
