"""Training of flows in a demo, and how their likelihoods are printed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pyneural.demos import _fit
from pyneural.training import History, Model
from pyneural.training.callbacks import Callback


@dataclass(frozen=True)
class Recipe:
    """How a flow is trained.

    The learning rate rises to its highest value in the first tenth of the steps, then falls to
    nothing as a cosine (Smith and Topin 2017, arXiv:1708.07120).
    """

    epochs: int
    batch: int
    rate: float  # the highest
    weight_decay: float = 0.0

    def lasting(self, epochs: int | None) -> Recipe:
        """The same for another number of epochs, if one is given."""
        return self if epochs is None else replace(self, epochs=epochs)


def train(
    model: Model,
    name: str,
    x: Tensor | DataLoader,
    held_out: Tensor | None,
    recipe: Recipe,
    *callbacks: Callback,
) -> tuple[History, float]:
    """Trains a flow or a diffusion with a progress bar; the curves and the time in s."""
    model.compile(partial(torch.optim.AdamW, lr=recipe.rate, weight_decay=recipe.weight_decay))
    batches = len(x) if isinstance(x, DataLoader) else math.ceil(len(x) / recipe.batch)
    cycle = _fit.one_cycle(recipe.rate, recipe.epochs * batches)
    start = time.perf_counter()
    history = _fit.fit(
        model, name, x, None, cycle, *callbacks,
        validation_data=held_out, epochs=recipe.epochs, batch_size=recipe.batch,
    )  # fmt: skip
    return history, time.perf_counter() - start


@torch.no_grad()
def mean_log_prob(model: Any, x: Tensor) -> float:
    """Mean log-density of rows, in nats."""
    return float(torch.cat([model.log_prob(part) for part in x.split(10_000)]).double().mean())


def gaussian_log_prob(x: Tensor, held_out: Tensor) -> float:
    """Mean log-density of held-out rows, in nats, of the Gaussian with the covariance of others."""
    x, held_out = x.double(), held_out.double()
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
    return float(gaussian.log_prob(held_out).mean())


def print_table(unit: str, rows: dict[str, tuple[float, str]], digits: int = 3) -> None:
    """Prints a value and a remark by name."""
    print(f"\n  {'':<36}{unit:>18}")
    for name, (value, remark) in rows.items():
        print(f"  {name:<36}{value:18.{digits}f}   {remark}".rstrip(), flush=True)
    print()
