"""Means of losses over batches, without training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from pyneural.training.curves.meter import PENDING, Meter
from pyneural.training.data.batches import Batch, Batches
from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup
from pyneural.training.solvers.objective import weighted_sum
from pyneural.training.trainable import Trainable


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """A module in evaluation mode, without graphs; afterwards in the mode in which it was."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


@torch.no_grad()
def evaluate(
    model: Trainable,
    batches: Batches,
    process_group: ProcessGroup = SINGLE_PROCESS,
    show: Callable[..., Iterator[Batch]] | None = None,
) -> dict[str, float]:
    """Means of loss and terms over batches, with the model in evaluation mode.

    ``show``, given the batches and what gives the means so far, gives the batches.
    """
    meter, names = Meter(), list[str]()
    model.eval()

    def means() -> dict[str, float]:
        device = next(model.parameters()).device
        return by_name(model, names, meter.means(process_group, device))

    epoch = batches.epoch(0)
    for batch in epoch if show is None else show(epoch, means):
        losses = model.losses(batch)
        names[:] = losses
        meter.add(list(losses.values()), 1 if batch is None else batch.samples)
        if len(meter.pending) >= PENDING:
            meter.read()
    return means()


def by_name(model: Trainable, names: Sequence[str], means: Sequence[float]) -> dict[str, float]:
    """Means by name, led by the loss, their weighted sum."""
    terms = dict(zip(names, means, strict=True))
    if "loss" in terms or not terms:
        return terms
    return {"loss": weighted_sum(model.loss_weights, terms), **terms}
