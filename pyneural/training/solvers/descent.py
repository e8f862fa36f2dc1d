"""Steps of torch's optimisers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyneural import optim
from pyneural.errors import whole
from pyneural.training.checks import check
from pyneural.training.data.batches import Batch
from pyneural.training.evaluation import Values
from pyneural.training.solvers.base import Phase, Solver, Task
from pyneural.training.solvers.objective import Objective, clear_gradients
from pyneural.training.solvers.optimizers import OptimizerFactory, make_optimizer
from pyneural.training.trainable import Trainable

Optimizer = str | torch.optim.Optimizer | OptimizerFactory


@dataclass(frozen=True)
class Adam(Phase):
    """Steps of Adam (Kingma and Ba, 2015), the learning rate falling exponentially.

        lr_k = lr * final^(k / steps),  k = 0 .. steps - 1

    A callback that sets the learning rate is multiplied by the same fall; write ``final=1.0`` to
    leave it to the callback alone.

    Args:
        steps: number of steps, >= 0.
        lr: learning rate of the first step, > 0.
        final: the last learning rate in parts of the first, > 0.

    >>> Adam(100, lr=1e-2, final=0.1).decay ** 50
    0.316...
    """

    name: ClassVar[str] = "Adam"
    follows_gradients: ClassVar[bool] = True

    steps: int
    lr: float = 5e-3
    final: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("lr", self.lr > 0, "a number > 0")
        self.check("final", self.final > 0, "a number > 0")

    @property
    def decay(self) -> float:
        """Ratio of the learning rates of two steps."""
        return float(self.final) ** (1 / int(self.steps)) if self.steps else 1.0

    def begin(self, task: Task) -> Solver:
        """The solver, at the start."""
        trained = [p for p in task.model.parameters() if p.requires_grad]
        optimizer = optim.Adam(trained, lr=float(self.lr), fused=True)
        return _DescentSolver(task, {"": optimizer}, Descent(optimizer, self.steps), self.decay)


@dataclass(frozen=True)
class Descent(Phase):
    """Steps of any of torch's optimisers, or of several.

    Args:
        optimizer: a name, an optimiser or what makes one of parameters, as in ``Model.compile``;
            or several, by the names of the submodules that they train.
        steps: number of steps at most.
        epochs: number of epochs at most, instead of steps.
        mixed_precision: torch.float16 where the losses come from products in float16, whose
            gradients are then scaled.
        clip_norm: largest norm of the gradient of an optimiser's parameters.
        accumulation_steps: parts that a batch is cut into: the same update from less memory, if
            the losses are means over the samples.
    """

    follows_gradients: ClassVar[bool] = True

    optimizer: Optimizer | Mapping[str, Optimizer]
    steps: int | None = None
    epochs: int | None = None
    mixed_precision: torch.dtype | None = None
    clip_norm: float | None = None
    accumulation_steps: int = 1

    def __post_init__(self) -> None:
        got, one = f"{self.steps} and {self.epochs}", (self.steps is None) != (self.epochs is None)
        check(one, "Descent: steps", "either steps or epochs", got, "give one of them")
        for name in ("steps", "epochs"):
            if getattr(self, name) is not None:
                whole(f"Descent: {name}", getattr(self, name))

    @property
    def name(self) -> str:  # type: ignore[override]
        """Of the optimiser."""
        optimizer = self.optimizer
        if isinstance(optimizer, Mapping):
            return " + ".join(optimizer)
        if isinstance(optimizer, str):
            return optimizer
        made = getattr(optimizer, "func", optimizer)  # of functools.partial
        return getattr(made, "__name__", type(made).__name__)

    def config(self) -> dict[str, Any]:
        """Kind and options, all but how long it is."""
        options = {"mixed_precision": str(self.mixed_precision)}
        return {"optimizer": self.name, **options, "accumulation_steps": self.accumulation_steps}

    def begin(self, task: Task) -> Solver:
        """The solver, at the start."""
        given = self.optimizer if isinstance(self.optimizer, Mapping) else {"": self.optimizer}
        made = {
            part: make_optimizer(optimizer, task.model.get_submodule(part).parameters())
            for part, optimizer in given.items()
        }
        return _DescentSolver(task, made, self)


class _DescentSolver(Solver):
    """Steps of optimisers along gradients, by the submodules that they train, "" being the model.

        g = sum_k n_k / N  d loss(part k) / d weights,   k = 1 .. accumulation_steps

    so that a batch cut into parts gives the gradient of the whole batch. Gradients in float16 are
    scaled, as they would vanish below 6e-8. The learning rates fall by ``decay`` after each step.
    """

    state_attributes = (*Solver.state_attributes, "optimizers", "scaler")

    def __init__(
        self,
        task: Task,
        optimizers: dict[str, torch.optim.Optimizer],
        phase: Descent,
        decay: float = 1.0,
    ) -> None:
        self.task, self.model, self.decay = task, task.model, decay
        self.parts, self.optimizers = optimizers, list(optimizers.values())
        self.clip_norm, self.accumulation_steps = phase.clip_norm, phase.accumulation_steps
        self.parameters = {
            part: [p for group in optimizer.param_groups for p in group["params"]]
            for part, optimizer in optimizers.items()
        }
        self._all = [p for parameters in self.parameters.values() for p in parameters]
        half = phase.mixed_precision == torch.float16
        self.scaler = torch.amp.GradScaler(self._all[0].device.type) if half else None
        self._scale = None if self.scaler is None else self.scaler.scale
        own_step = type(self.model).training_step is not Trainable.training_step
        self._objective = None if own_step else Objective(self.model, task.process_group)
        parts, expected = self.accumulation_steps, "1 for a model with a training_step of its own"
        good, where = parts == 1 or not own_step, "Descent: accumulation_steps"
        check(good, where, expected, parts, "accumulate there")
        good, kind = own_step or len(optimizers) == 1, type(self.model).__name__
        got = f"{len(optimizers)} for {kind}, which has no training_step"
        check(good, "Descent: optimizer", "one", got, "write one")
        self._untrained = self._left_out()  # of several optimisers, or by a submodule
        self._batch: Any = None
        self._refused = False

    def step(self, batch: Batch) -> Values | None:
        """One update, or those of ``training_step``."""
        if self.decay != 1.0 and self.evaluations:
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] *= self.decay
        self._batch, self._refused = batch, False
        objective = self._objective
        values: Values
        if objective is None:
            losses = self.model.training_step(batch, self)
            self.names, values = list(losses), [loss.detach() for loss in losses.values()]
        else:
            clear_gradients(self._all)
            if self.accumulation_steps == 1:
                share = 1.0 if batch is None else batch.share
                values = objective.evaluate(batch, share, self._scale)
            else:
                values = self._accumulate(batch, objective)
            self.names = objective.names
            self._update("", self.names, values)
        return None if self._refused else values

    def minimise(self, loss: Tensor, part: str | None = None) -> None:
        """Gradient of a loss, [], for the parameters of an optimiser, and its step."""
        name = next(iter(self.parts)) if part is None and len(self.parts) == 1 else part
        if name is None or name not in self.parts:
            names = ", ".join(self.parts)
            raise ValueError(f"minimise: part: expected one of {names}, got {part!r}; name one")
        if not self._refused:
            parameters = self.parameters[name]
            clear_gradients(parameters)
            (loss if self._scale is None else self._scale(loss)).backward(inputs=parameters)
            self.task.process_group.average_gradients(parameters)
            self._update(name, [name or "loss"], [loss.detach()])

    def check_parameters(self) -> None:
        new = self._left_out() - self._untrained
        if new:
            named = self.model.named_parameters()
            name = next(name for name, parameter in named if id(parameter) in new)
            expected = "the parameters that required a gradient when it began"
            remedy = "end the training before layers are unfrozen or replaced, and call fit again"
            raise RuntimeError(f"fit: expected {expected}, got {name!r} beside them; {remedy}")

    def _left_out(self) -> set[int]:
        held = {id(parameter) for parameter in self._all}
        return {id(p) for p in self.model.parameters() if p.requires_grad} - held

    def close(self) -> None:
        if self._objective is not None:
            self._objective.close()

    def _accumulate(self, batch: Batch, objective: Objective) -> Values:
        parts = batch.chunk(self.accumulation_steps)
        means: list[Tensor] = []
        for number, part in enumerate(parts, 1):
            fraction = part.samples / sum(one.samples for one in parts)
            with objective.one_exchange(number == len(parts)):
                values = objective.evaluate(part, batch.share * fraction, self._scale)
            terms = [torch.as_tensor(value) * fraction for value in values]
            means = terms if not means else [a + b for a, b in zip(means, terms, strict=True)]
        return means

    def _update(self, part: str, names: Sequence[str], values: Values) -> None:
        """Changes the weights by the gradients that are set, unless that is refused."""
        self.evaluations += 1
        ask = self.task.on_gradients
        if ask is not None and not ask(self._batch, names, values):
            self._refused = True
            return
        if self.task.check_step is not None:
            self.task.check_step(self._batch, names, values)
        optimizer = self.parts[part]
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters[part], self.clip_norm)
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()
