"""Learning rates that change: by a function of the epoch, by torch's schedulers, on a plateau."""

import inspect
import math
import warnings
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.optim import lr_scheduler

from pyneural.errors import whole, wholes
from pyneural.training.callback import Callback
from pyneural.training.callbacks.monitor import Monitor
from pyneural.training.checks import check

RATE = "learning_rate"  # its name in the history


class LearningRateScheduler(Callback):
    """Sets the learning rate of all groups of parameters before each epoch.

    Args:
        schedule: gives the rate for an epoch, counted from 0, and, if it takes two arguments, the
            rate before.
    """

    quantities = (RATE,)

    def __init__(self, schedule: Callable[..., float]) -> None:
        expected, got = "a function of the epoch and the rate", repr(schedule)
        remedy = "write lambda epoch, rate: rate / 2"
        good = callable(schedule)
        check(good, "LearningRateScheduler: schedule", expected, got, remedy, TypeError)
        try:
            inspect.signature(schedule).bind(0, 1.0)
            self._takes_rate = True
        except TypeError:
            self._takes_rate = False
        except ValueError:  # of C functions, which do not say
            self._takes_rate = True
        self.schedule = schedule

    def on_epoch_begin(self, epoch: int) -> None:
        """Sets the rate; solvers without one are left alone."""
        if not self.run.optimizers:
            return
        before = float(self.run.optimizer.param_groups[0]["lr"])
        rate = self.schedule(epoch, before) if self._takes_rate else self.schedule(epoch)
        got = f"{rate} for epoch {epoch}"
        check(rate >= 0, "LearningRateScheduler: schedule", "a number >= 0", got)
        for optimizer in self.run.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = float(rate)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Adds the rate to the history."""
        if self.run.optimizers:  # the first group of the first one stands for all
            logs[RATE] = float(self.run.optimizer.param_groups[0]["lr"])


class TorchScheduler(Callback):
    """A scheduler of ``torch.optim.lr_scheduler``, one for each optimiser of a phase.

    Given to ``fit`` again, with the same model and as it was compiled, it goes on from where it
    was, or begins anew if it was at its end (OneCycleLR). A new one, or a copy, begins at
    ``initial_epoch``: at 0 with the rate that the optimiser then has, later with what its steps
    until then make of the rate that the optimiser had before any scheduler.

    Args:
        make: makes it for an optimiser, as
            ``lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10)``; for
            ReduceLROnPlateau there is a callback of that name.
        every: "epoch" or "batch": when it makes a step; OneCycleLR asks for "batch".
    """

    quantities = (RATE,)
    state_attributes = ("schedulers",)

    def __init__(
        self,
        make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler],
        every: str = "epoch",
    ) -> None:
        good = every in ("epoch", "batch")
        check(good, "TorchScheduler: every", "'epoch' or 'batch'", repr(every), "write one")
        self.make, self.every = make, every
        self.schedulers: list[Any] = []
        self._model: Any = None  # that they train, a weak reference

    def __getstate__(self) -> dict[str, Any]:
        """Without the training, and so without the model and its optimisers."""
        state = {name: value for name, value in vars(self).items() if name != "run"}
        return {**state, "schedulers": [], "_model": None}

    @property
    def scheduler(self) -> Any:
        """That of the first optimiser."""
        return self.schedulers[0]

    def on_phase_begin(self, index: int) -> None:
        """Makes the schedulers, or goes on with those of the fit before."""
        optimizers, before = self.run.optimizers, self.schedulers
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        # Schedulers of torch leave this in what they have worked on; ``compile`` makes it anew.
        scheduled = all("initial_lr" in group for group in groups)
        same = self._model is not None and self._model() is self.run.model
        going_on = same and scheduled and not any(map(_at_end, before))
        if going_on and len(before) == len(optimizers):
            pairs = zip(optimizers, before, strict=True)
            self.schedulers = [self._continued(*pair) for pair in pairs]
        else:
            self.schedulers = [self._begun(optimizer) for optimizer in optimizers]
        self._model = weakref.ref(self.run.model)

    def _continued(self, optimizer: torch.optim.Optimizer, before: Any) -> Any:
        """The scheduler before, of this optimiser if that was made anew for other parameters."""
        if before.optimizer is optimizer:
            return before
        options = [dict(group) for group in optimizer.param_groups]
        made = self.make(optimizer)  # which sets the rates to those of its first step
        made.load_state_dict(before.state_dict())
        for group, own in zip(optimizer.param_groups, options, strict=True):
            group.update(own)
        return made

    def _begun(self, optimizer: torch.optim.Optimizer) -> Any:
        """A scheduler at the run's first epoch."""
        epochs = self.run.initial_epoch
        for group in optimizer.param_groups:
            # Torch's schedulers leave the rate of epoch 0 here, and a later one would begin at it.
            before = group.pop("initial_lr", group["lr"])
            if epochs:
                group["lr"] = before
        made = self.make(optimizer)
        where, got = f"{type(self).__name__}: make", type(made).__name__
        expected, remedy = "a scheduler of steps alone", "give fit callbacks.ReduceLROnPlateau()"
        plateau = isinstance(made, lr_scheduler.ReduceLROnPlateau)
        check(not plateau, where, expected, got, remedy, TypeError)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            for _ in range(epochs * (len(self.run.batches) if self.every == "batch" else 1)):
                self._step(made)
        remedy = "enlarge total_steps, or set initial_epoch to 0"
        check(not _at_end(made), where, f"steps left at epoch {epochs}", "none", remedy)
        return made

    def _step(self, scheduler: Any) -> None:
        where, got = f"{type(self).__name__}: make", f"{getattr(scheduler, 'total_steps', None)}"
        remedy = "write epochs times batches an epoch as total_steps"
        check(not _at_end(scheduler), where, "a step for each of the training", got, remedy)
        scheduler.step()

    def on_train_batch_end(self) -> None:
        """A step a batch."""
        if self.every == "batch":
            for scheduler in self.schedulers:
                self._step(scheduler)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Adds the epoch's rate to the history; a step an epoch."""
        if self.schedulers:
            logs[RATE] = float(self.run.optimizer.param_groups[0]["lr"])
        if self.every == "epoch":
            for scheduler in self.schedulers:
                self._step(scheduler)


def _at_end(scheduler: Any) -> bool:
    """Whether it makes no step any more, as OneCycleLR, after which torch raises an error."""
    return scheduler.last_epoch >= getattr(scheduler, "total_steps", math.inf)


class WarmUp(TorchScheduler):
    """A learning rate that rises from 0 and then falls slowly, as transformers are trained.

        lr_s = lr min(s / steps, sqrt(steps / s))   at batch s, lr being the optimiser's

    Args:
        steps: batches until it is highest, >= 1.

    Source: Vaswani et al. 2017, section 5.3, whose lr is (d_model steps)^(-1/2).

    >>> from pyneural.training import Model
    >>> model = Model(torch.nn.Linear(1, 1))
    >>> model.compile(torch.optim.SGD(model.parameters(), lr=1.0), "mse")
    >>> x = torch.zeros(4, 1)
    >>> rates = model.fit(x, x, 1, 2, verbose=0, callbacks=[WarmUp(4)])[RATE]
    >>> rates  # batches 5 and 9 come next
    [0.894..., 0.666...]
    """

    def __init__(self, steps: int) -> None:
        steps = whole("WarmUp: steps", steps)
        check(steps >= 1, "WarmUp: steps", ">= 1", steps, "write 400")
        super().__init__(partial(lr_scheduler.LambdaLR, lr_lambda=self._factor), "batch")
        self.steps = steps

    def _factor(self, batch: int) -> float:
        number = batch + 1  # the scheduler counts from 0
        return min(number / self.steps, (self.steps / number) ** 0.5)


class ReduceLROnPlateau(Callback):
    """Lowers the learning rate when a quantity has not become better, epoch by epoch as Keras does.

        lr <- max(factor * lr, ``min_lr``)   after ``patience`` epochs without a better value

    Args:
        monitor: name of the quantity in the history.
        factor: in (0, 1).
        patience: epochs, >= 1.
        mode: "min", "max" or "auto".
        min_delta: smallest change that counts.
        cooldown: epochs after a change before epochs are counted again.
        min_lr: the smallest rate.
    """

    quantities = (RATE,)
    state_attributes = ("monitor", "waited", "cooling")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        check(0 < factor < 1, "ReduceLROnPlateau: factor", "a number in (0, 1)", factor)
        kind = "ReduceLROnPlateau"
        patience, cooldown = wholes(kind, patience=patience, cooldown=cooldown)
        check(patience >= 1, "ReduceLROnPlateau: patience", ">= 1", patience)
        check(cooldown >= 0, "ReduceLROnPlateau: cooldown", ">= 0", cooldown)
        self.monitor = Monitor("ReduceLROnPlateau", monitor, mode, min_delta)
        self.factor, self.patience = float(factor), patience
        self.cooldown, self.min_lr = cooldown, float(min_lr)
        self.waited = self.cooling = 0  # epochs

    def on_train_begin(self) -> None:
        """Forgets what was seen before."""
        self.monitor.check(self.run)
        self.monitor.reset()
        self.waited = self.cooling = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Adds the epoch's rate to the history; lowers it if it is time."""
        if self.run.optimizers:
            logs[RATE] = float(self.run.optimizer.param_groups[0]["lr"])
        if self.cooling:
            self.cooling -= 1
            self.waited = 0
        if self.monitor.better(logs):
            self.waited = 0
        elif not self.cooling:
            self.waited += 1
            if self.waited >= self.patience and self._lower():
                self.waited, self.cooling = 0, self.cooldown

    def _lower(self) -> bool:
        """Lowers the rates of all groups; whether one was above the smallest."""
        groups = [group for o in self.run.optimizers for group in o.param_groups]
        high = [group for group in groups if group["lr"] > self.min_lr]
        for group in high:
            group["lr"] = max(group["lr"] * self.factor, self.min_lr)
        return bool(high)
