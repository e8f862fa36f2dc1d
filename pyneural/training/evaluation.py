"""Means of losses, which stay on the device until someone reads them, in training and without."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyneural.training.data.batches import Batch, Batches
from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup
from pyneural.training.state.stateful import Stateful
from pyneural.training.trainable import Trainable
from pyneural.training.weights import weighted_sum

Values = Tensor | Sequence[Tensor] | Sequence[float]  # of a step: [K], or K of [], or K numbers
Mean = Any  # a number, or the list of numbers of a metric's moments
PENDING = 64  # steps after which a training reads them


class StepLosses(NamedTuple):
    """What a step gave: unweighted terms, and seconds and evaluations since the start."""

    values: list[float]
    seconds: float
    evaluations: int


class Meter(Stateful):
    """Means of losses and metrics over samples.

    >>> meter = Meter()
    >>> meter.add([torch.tensor(1.0)], 3)
    >>> meter.add([torch.tensor(5.0)], 1)
    >>> meter.means()
    [2.0]
    """

    state_attributes = ("totals", "samples")

    def __init__(self) -> None:
        self.totals: list[Mean] = []
        self.samples = 0
        self.pending: list[tuple[Values, int, float, int]] = []

    def add(self, values: Values, samples: int, seconds: float = 0.0, evaluations: int = 0) -> None:
        """Adds a step or batch: the means over its samples, without graphs."""
        self.pending.append((values, samples, seconds, evaluations))

    def read(self) -> list[StepLosses]:
        """What was added since the last call; waits for the device."""
        pending, self.pending = self.pending, []
        rows = as_numbers([values for values, *_ in pending])
        if rows and not self.totals:
            self.totals = [[0.0] * len(v) if isinstance(v, list) else 0.0 for v in rows[0]]
        # One after the other, so that the sum does not depend on when it is read.
        steps = []
        for row, (_, samples, seconds, evaluations) in zip(rows, pending, strict=True):
            pairs = zip(self.totals, row, strict=True)
            self.totals = [_plus(total, samples, value) for total, value in pairs]
            self.samples += samples
            steps.append(StepLosses(row, seconds, evaluations))
        return steps

    def means(
        self, process_group: ProcessGroup = SINGLE_PROCESS, device: torch.device | str = "cpu"
    ) -> list[Mean]:
        """The means over the samples of all processes."""
        self.read()
        totals, samples = self.totals, float(self.samples)
        if process_group.size > 1:
            dtype = torch.float32 if torch.device(device).type == "mps" else torch.float64
            parts = [total if isinstance(total, list) else [total] for total in totals]
            numbers = [number for part in parts for number in part]
            sums = torch.tensor([*numbers, samples], dtype=dtype, device=device)
            *numbers, samples = process_group.sum(sums).tolist()
            summed = iter(numbers)
            totals = [
                [next(summed) for _ in total] if isinstance(total, list) else next(summed)
                for total in totals
            ]
        below = max(samples, 1)
        return [[t / below for t in x] if isinstance(x, list) else x / below for x in totals]


def _plus(total: Mean, samples: int, value: Mean) -> Mean:
    if isinstance(value, list):
        return [t + samples * v for t, v in zip(total, value, strict=True)]
    return total + samples * value


def as_numbers(steps: Sequence[Values]) -> list[list[Mean]]:
    """The values as numbers, a row a step; one copy from the device for each kind of value."""
    if not steps:
        return []
    if all(isinstance(values, Tensor) for values in steps):
        return torch.stack(steps).tolist()  # type: ignore[arg-type]
    columns = []
    for column in zip(*steps, strict=True):
        tensors = all(isinstance(value, Tensor) for value in column)
        columns.append(torch.stack(column).tolist() if tensors else list(column))
    return [list(row) for row in zip(*columns, strict=True)]


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """A module in evaluation mode, without graphs; afterwards each part is in its former mode."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(modes[0][1])  # the first is the module itself; parts made meanwhile follow it
        for part, training in modes:
            part.training = training


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


def finished(model: Trainable, names: Sequence[str], values: Sequence[Mean]) -> list[float]:
    """The values, with metrics in the place of their moments."""
    pairs = zip(names, values, strict=True)
    return [model.metric(name, v) if isinstance(v, list) else v for name, v in pairs]


def by_name(model: Trainable, names: Sequence[str], means: Sequence[Mean]) -> dict[str, float]:
    """Means by name, led by the loss, their weighted sum."""
    terms = dict(zip(names, finished(model, names, means), strict=True))
    if "loss" in terms or not terms:
        return terms
    return {"loss": weighted_sum(model.term_weights, terms), **terms}
