"""Batches of tensors in memory, and of a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup


class Batch(NamedTuple):
    """Samples of one update.

    ``share`` is the factor on the mean loss of this process's samples for which the average over
    the processes is the mean over all samples: 1 in a single process.
    """

    x: Tensor
    y: Tensor
    weight: Tensor | None
    samples: int
    share: float


class TensorBatches:
    """Tensors cut into batches, in a new order each epoch that a seed and its number give.

    No DataLoader: a batch is one index_select of each tensor. Of each batch, process r of R takes
    the samples r, r + R, ..., so that all of them together make the update of a single process.

    Args:
        x: [N, ...].
        y: [N, ...].
        weight: [N] or None.
        batch_size: samples of an update, in all processes together.
        seed: of the orders; None for the order of the tensors.
        process_group: the processes.

    >>> batches = TensorBatches(torch.arange(5), torch.arange(5), None, 2, None)
    >>> [batch.x.tolist() for batch in batches.epoch(0)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        weight: Tensor | None,
        batch_size: int,
        seed: int | None,
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.x, self.y, self.weight = x, y, weight
        self.batch_size, self.seed, self.process_group = batch_size, seed, process_group
        self.samples = len(x)

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch."""
        order = self._order(number)
        for first in range(0, self.samples, self.batch_size):
            last = min(first + self.batch_size, self.samples)
            if order is None and self.process_group.size == 1:
                rows = slice(first, last)
                weight = None if self.weight is None else self.weight[rows]
                yield Batch(self.x[rows], self.y[rows], weight, last - first, 1.0)
            else:
                yield self._select(order, first, last)

    def _order(self, number: int) -> Tensor | None:
        if self.seed is None:
            return None
        # On the CPU, so that one seed is one order on every device.
        generator = torch.Generator().manual_seed((self.seed + number) % 2**63)
        return torch.randperm(self.samples, generator=generator).to(self.x.device)

    def _select(self, order: Tensor | None, first: int, last: int) -> Batch:
        if order is None:
            rows = torch.arange(first, last, device=self.x.device)
        else:
            rows = order[first:last]
        samples, share = last - first, 1.0
        if self.process_group.size > 1:
            mine = rows[self.process_group.rank :: self.process_group.size]
            share = len(mine) * self.process_group.size / samples
            samples = len(mine)
            # Every process takes part in each update; one without a sample adds nothing.
            rows = mine if samples else rows[:1]
        weight = None if self.weight is None else self.weight.index_select(0, rows)
        x = self.x.index_select(0, rows)
        y = x if self.y is self.x else self.y.index_select(0, rows)  # x of an autoencoder
        return Batch(x, y, weight, samples, share)


class LoaderBatches:
    """Batches of a torch DataLoader that gives (x, y) or (x, y, weight).

    Args:
        where: the function that the user called, for the text of errors.
        loader: its sampler is a DistributedSampler where several processes train.
        convert: makes of x and y what the model and the loss take.
        device: of the model.
        process_group: the processes.
        train: whether the batches are trained on.

    Raises:
        ValueError: it has no length, or gives every process the same samples.
    """

    def __init__(
        self,
        where: str,
        loader: DataLoader,
        convert: Callable[[Any, Any], tuple[Tensor, Tensor]],
        device: torch.device,
        process_group: ProcessGroup = SINGLE_PROCESS,
        train: bool = True,
    ) -> None:
        self.where, self.loader, self.convert = where, loader, convert
        self.device, self.process_group = device, process_group
        try:
            empty = len(loader) == 0
        except TypeError as error:
            raise ValueError(
                f"{where}: x: expected a DataLoader with a length, got one of an iterable dataset; "
                "give the dataset a __len__"
            ) from error
        if empty:
            raise ValueError(
                f"{where}: x: expected at least one batch, got an empty DataLoader; give it data, "
                "or drop_last=False"
            )
        self.samples = len(loader.dataset)  # type: ignore[arg-type]
        if process_group.size > 1 and train and not isinstance(loader.sampler, DistributedSampler):
            raise ValueError(
                f"{where}: x: expected a DataLoader with a DistributedSampler, as several "
                "processes train, got one that gives all of them the same samples; write "
                "DataLoader(data, sampler=torch.utils.data.DistributedSampler(data))"
            )

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch."""
        if isinstance(self.loader.sampler, DistributedSampler):
            self.loader.sampler.set_epoch(number)
        for batch in self.loader:
            yield self._batch(batch)

    def _batch(self, batch: Any) -> Batch:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise ValueError(
                f"{self.where}: x: expected batches (x, y) or (x, y, weight) from the DataLoader, "
                f"got {type(batch).__name__}; give it a TensorDataset(x, y)"
            )
        x, y = self.convert(*batch[:2])
        weight = batch[2].to(self.device, x.dtype) if len(batch) == 3 else None
        return Batch(x, y, weight, len(x), 1.0)


Batches = TensorBatches | LoaderBatches
