"""Training of adversarial networks in a demo, looked at from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural import optim
from pyneural.demos import _fit
from pyneural.models import GAN
from pyneural.training import History
from pyneural.training.callbacks import EMA, Every, TorchScheduler
from pyneural.training.run import Run


@dataclass(frozen=True)
class Recipe:
    """How both parts are trained; the rates fall to nothing as a cosine."""

    epochs: int
    batch: int
    rates: tuple[float, float]  # of generator and discriminator
    weight: float  # of the R1 penalty
    average: float = 0.99  # decay of the generator's average

    def lasting(self, epochs: int | None) -> Recipe:
        """The same for another number of epochs, if one is given."""
        return self if epochs is None else replace(self, epochs=epochs)


def adam(rate: float) -> Callable[..., torch.optim.Optimizer]:
    """What makes Adam as it is taken for adversarial networks."""
    return partial(optim.Adam, lr=rate, betas=(0.5, 0.9), fused=True)


def train(
    name: str, model: GAN, x: Tensor, recipe: Recipe, look: Callable[[int], Any]
) -> tuple[History, float]:
    """Trains a compiled model with a progress bar; its curves and the time in s.

    At the ``shown_steps`` ``look`` is called with their number, with the generator's average.
    """
    steps = recipe.epochs * -(-len(x) // recipe.batch)
    average = EMA(recipe.average, "generator")

    def seen(run: Run) -> None:
        if run.steps in shown_steps(steps):
            with average.averaged():
                look(run.steps)

    cosine = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps)
    start = time.perf_counter()
    history = _fit.fit(
        model, name, x, None, average, TorchScheduler(cosine, "batch"), Every(1, seen),
        epochs=recipe.epochs, batch_size=recipe.batch,
    )  # fmt: skip
    return history, time.perf_counter() - start


def shown_steps(steps: int, count: int = 5) -> list[int]:
    """When a training is looked at: at its end, and ever more often towards its beginning.

    >>> shown_steps(3000)
    [100, 234, 548, 1282, 3000]
    """
    first = max(1, steps // 30)
    ratio = (steps / first) ** (1 / (count - 1))
    return sorted({round(first * ratio**i) for i in range(count)})
