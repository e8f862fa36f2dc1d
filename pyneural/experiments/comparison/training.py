"""Training within a budget of time or steps, looked at from time to time, off the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural.training import Model
from pyneural.training.callbacks import EMA, Callback
from pyneural.training.run import TIME_LIMIT

_RISE = 0.1  # share of the budget in which the learning rate rises
_CHECKS = 16  # measurements of the validation loss
_MEMORY = 0.999  # decay of the moving average of the weights, at most
LOOKS = (0.125, 0.25, 0.5, 1.0)  # shares of the budget at which samples are looked at


class Budget(Callback):
    """Ends a training after some seconds or steps; learning rates rise, then fall as a cosine.

    With seconds it ends with the step whose end is nearest to the budget, as judged by the mean
    time of a step. While it measures the validation loss, or samples are looked at, the clock
    stands still: the budget is of training alone. The weights with the lowest validation loss are
    kept.

    Args:
        seconds: of training; they do not matter where ``steps`` are given.
        average: of the weights, which is measured and looked at.
        validation: rows that are not trained on; None where their loss says nothing.
        look: called with the seconds so far, at each of ``LOOKS``.
        steps: of training, in place of seconds.
    """

    in_checkpoint = False

    def __init__(
        self,
        seconds: float,
        average: EMA,
        validation: Tensor | None = None,
        look: Callable[[float], None] | None = None,
        steps: int | None = None,
    ) -> None:
        self.seconds, self.average, self.validation, self.look = seconds, average, validation, look
        self.steps = steps
        self.lowest, self.best = math.inf, dict[str, Tensor]()

    def on_train_begin(self) -> None:
        """Starts the clock."""
        self.began, self.held = time.perf_counter(), 0.0
        groups = [group for one in self.run.optimizers for group in one.param_groups]
        self.rates = [(group, float(group["lr"])) for group in groups]
        self.looked = self.checked = 0
        self._set_rates(0.0)

    @property
    def spent(self) -> float:
        """Seconds of training so far."""
        return time.perf_counter() - self.began - self.held

    def on_train_batch_end(self) -> None:
        """Sets the rates; measures and stops when it is time."""
        steps, share = self.run.steps, self._share()
        self.average.decay = min(_MEMORY, (1 + steps) / (10 + steps))
        self._set_rates(min(share, 1.0))
        if share >= (self.checked + 1) / _CHECKS:
            self.checked = math.floor(share * _CHECKS)
            self._held(self._check)
        if self.look is not None and share >= LOOKS[self.looked] and share < 1:
            self.looked += 1
            self._held(partial(self.look, self.spent))
        if share >= 1:
            self.run.pause(TIME_LIMIT)

    def on_train_end(self) -> None:
        """Stops the clock."""
        self.total = self.spent

    def restore(self, model: Model) -> None:
        """Gives the model its best weights."""
        if self.best:
            model.load_state_dict(self.best)

    def _share(self) -> float:
        """Of the budget that is spent; 1 or more where the training is to end."""
        if self.steps is not None:
            return self.run.steps / self.steps
        share = self.spent / self.seconds
        # One more step would end further from the budget.
        return max(share, 1.0) if share >= 1 - 0.5 / self.run.steps else share

    def _set_rates(self, share: float) -> None:
        rise = min(1.0, 0.05 + share / _RISE)
        fall = 0.5 * (1 + math.cos(math.pi * max(0.0, share - _RISE) / (1 - _RISE)))
        for group, highest in self.rates:
            group["lr"] = highest * rise * fall

    def _held(self, action: Callable[[], None]) -> None:
        start = time.perf_counter()
        with torch.random.fork_rng(devices=[]), self.average.averaged():
            action()
        self.held += time.perf_counter() - start

    def _check(self) -> None:
        if self.validation is None:
            return
        found = self.run.model.evaluate(self.validation, batch_size=1024, return_dict=True)
        value = -found["elbo"] if "elbo" in found else found["loss"]
        if value < self.lowest:
            self.lowest = value
            self.best = {k: v.clone() for k, v in self.run.model.state_dict().items()}


class Spent:
    """Seconds and steps of the trainings of one model."""

    def __init__(self) -> None:
        self.seconds, self.steps = 0.0, 0


def train(
    model: Model,
    x: Tensor,
    validation: Tensor | None,
    optimizer: Any,
    seconds: float,
    spent: Spent,
    *,
    batch: int,
    targets: bool = False,
    part: str = "",
    loss: str | None = None,
    look: Callable[[float], None] | None = None,
    steps: int | None = None,
) -> None:
    """Trains a model for some seconds or steps, with averaged weights, and keeps the best.

    Args:
        model: it.
        x: training rows.
        validation: rows for the choice of the weights; None for the last ones.
        optimizer: for ``compile``.
        seconds: of training.
        spent: what is added to.
        batch: rows of a step, at most an eighth of all.
        targets: whether x is its own target.
        loss: for ``compile``, of a model without one of its own.
        part: submodule whose weights are averaged.
        look: see ``Budget``.
        steps: of training, in place of seconds.
    """
    model.compile(optimizer) if loss is None else model.compile(optimizer, loss)
    before = spent.seconds
    average = EMA(0.0, part)
    told = None if look is None else lambda now: look(before + now)
    held_out = None if targets else validation
    budget = Budget(seconds, average, held_out, told, steps)
    batch = max(1, min(batch, len(x) // 8))
    model.fit(
        x, x if targets else None, batch_size=batch, epochs=10**9, verbose=0,
        callbacks=[average, budget],
    )  # fmt: skip
    spent.seconds += budget.total
    spent.steps += budget.run.steps
    budget.restore(model)


def adam(rate: float, decay: float = 0.0) -> Any:
    """What makes AdamW with its highest learning rate."""
    return partial(torch.optim.AdamW, lr=rate, weight_decay=decay)
