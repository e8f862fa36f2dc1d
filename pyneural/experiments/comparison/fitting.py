"""What a model is made from, and what it is afterwards: a source of samples, with a likelihood."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyneural.experiments.comparison.data import DataSet, Preparation
from pyneural.experiments.comparison.training import Spent, train

LOOKED = 200  # samples of a look during the training, at most
_COPIES = 20_000  # rows that few rows of whole numbers become, each with noise of its own
_LEAST = 1e-9  # share of the budget
_PART = 10_000  # rows of a likelihood at a time

LogProb = Callable[[Tensor], Tensor]


@dataclass
class Fitting:
    """Data, budget and seed of a training.

    Args:
        data: the data set.
        preparation: units of the models.
        train: training rows x, [N, D], in the units of the data.
        seconds: budget; they do not matter where ``steps`` are given.
        seed: of everything at random.
        quality: of samples x, a distance that is low for good ones; None for no looks.
        steps: budget of a network, in place of seconds.
    """

    data: DataSet
    preparation: Preparation
    train: Tensor
    seconds: float
    seed: int
    quality: Callable[[Tensor], float] | None = None
    steps: int | None = None
    spent: Spent = field(default_factory=Spent)
    curve: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        count = min(2_000, len(self.train) // 10)
        self.validation, self.fitted = self.train[:count], self.train[count:]

    @property
    def share(self) -> float:
        """Of the budget that networks have spent."""
        if self.steps is not None:
            return self.spent.steps / self.steps
        return self.spent.seconds / self.seconds

    def rows(self, x: Tensor) -> Tensor:
        """Rows in the models' units; of few rows of whole numbers copies with other noise."""
        has_noise = self.data.levels is not None if self.data.is_images else bool(
            self.preparation.whole.any()
        )  # fmt: skip
        copies = max(1, _COPIES // len(x)) if has_noise else 1
        forward = self.preparation.forward
        return torch.cat([forward(x, 1000 * self.seed + i).rows for i in range(copies)])

    def train_model(
        self,
        model: Any,
        x: Tensor,
        validation: Tensor | None,
        optimizer: Any,
        draw: Callable[[int], Tensor] | None,
        share: float = 1.0,
        **options: Any,
    ) -> None:
        """Trains for a share of the budget; ``draw`` gives samples x, which are looked at."""
        # A part that took longer than its share leaves the next one a single step.
        left = share if share < 1 else max(1 - self.share, _LEAST)
        steps = None if self.steps is None else max(1, round(left * self.steps))
        look = None if draw is None or self.quality is None else self._look(draw)
        train(
            model, x, validation, optimizer, left * self.seconds, self.spent, look=look,
            steps=steps, **options,
        )  # fmt: skip

    def density(self, log_prob: LogProb) -> LogProb | None:
        """Likelihood log p(x) in nats a row, from the log-density of rows in the models' units."""
        if not self.preparation.has_density:
            return None

        @torch.no_grad()
        def of_data(x: Tensor) -> Tensor:
            rows, log_det = self.preparation.forward(x, self.seed)
            found = torch.cat([log_prob(part).double() for part in rows.split(_PART)])
            return found + log_det

        return of_data

    def _look(self, draw: Callable[[int], Tensor]) -> Callable[[float], None]:
        def look(seconds: float) -> None:
            if self.quality is not None:
                samples = draw(LOOKED)
                if bool(samples.isfinite().all()):
                    self.curve.append((seconds, self.quality(samples)))

        return look


@dataclass
class Fitted:
    """A trained model.

    Args:
        draw: so many samples x, [N, D], in the units of the data.
        log_prob: in nats a row; None where there is none.
        bound: whether that is a lower bound.
        parameters: their number.
        picture: samples as they are shown, where that differs from ``draw``.
        measured: rows whose likelihood is computed, at most.
        stopped: why the training ended before the budget did.
    """

    draw: Callable[[int], Tensor]
    log_prob: LogProb | None
    parameters: int
    bound: bool = False
    picture: Callable[[int], Tensor] | None = None
    measured: int = 2_000
    stopped: str = ""


def parameters_of(*modules: torch.nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for module in modules for p in module.parameters())
