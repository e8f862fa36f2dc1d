"""Batches of tensors in memory, and of a DataLoader."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from pyneural.errors import whole
from pyneural.training.checks import check
from pyneural.training.data.nested import each
from pyneural.training.data.nested import first as first_of
from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup
from pyneural.training.state import random_state
from pyneural.training.state.stateful import Stateful


class Batch(NamedTuple):
    """Samples of one update; ``y`` is None where there are no targets.

    ``share`` is the factor on the mean loss of this process's samples for which the average over
    the processes is the mean over all samples: 1 in a single process.
    """

    x: Any  # a tensor, or a tuple or dict of them
    y: Any
    weight: Tensor | None
    samples: int
    share: float

    def chunk(self, parts: int) -> list["Batch"]:
        """The batch in parts, each with its share of the whole."""
        samples = len(first_of(self.x))
        size = -(-samples // int(parts))
        slices = [slice(begin, begin + size) for begin in range(0, samples, size)]
        rows = [[_rows(value, part) for value in self[:3]] for part in slices]
        return [Batch(x, y, w, len(first_of(x)), self.share) for x, y, w in rows]


class Batches(Stateful):
    """What the samples of an epoch are taken from."""

    def __len__(self) -> int:
        raise NotImplementedError

    def epoch(self, number: int, first: int = 0) -> Iterator[Any]:
        """The batches of an epoch, the first ones left out where it goes on after a pause."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """What a resumed training must have in common with the first one."""
        return {}


@dataclass(eq=False)
class AllData(Batches):
    """Each step takes all data: the batch is None, and an epoch is a number of steps."""

    steps_per_epoch: int  # >= 1

    def __post_init__(self) -> None:
        self.steps_per_epoch = whole("AllData: steps_per_epoch", self.steps_per_epoch)

    def __len__(self) -> int:
        return self.steps_per_epoch

    def epoch(self, number: int, first: int = 0) -> Iterator[Any]:
        """None for each step."""
        return iter([None] * (self.steps_per_epoch - first))

    def config(self) -> dict[str, Any]:
        """The length of an epoch."""
        return {"steps_per_epoch": self.steps_per_epoch}


@dataclass(eq=False, repr=False)
class TensorBatches(Batches):
    """Tensors cut into batches, in a new order each epoch that a seed and its number give.

    No DataLoader: a batch is one index_select of each tensor. Of each batch, process r of R takes
    the samples r, r + R, ..., so that all of them together make the update of a single process.

    >>> batches = TensorBatches(torch.arange(5), batch_size=2)
    >>> [batch.x.tolist() for batch in batches.epoch(0)]
    [[0, 1], [2, 3], [4]]
    """

    state_attributes = ("seed",)

    x: Any  # [N, ...], a tensor or MappedRows, or a tuple or dict of those
    y: Any = None  # likewise
    weight: Tensor | None = None  # [N], or [N, T] of the steps of each sample
    batch_size: int = 32  # samples of an update, in all processes together
    seed: int | None = None  # of the orders; None for the order of the tensors
    process_group: ProcessGroup = SINGLE_PROCESS

    def __post_init__(self) -> None:
        self.batch_size = whole("TensorBatches: batch_size", self.batch_size)
        self.seed = None if self.seed is None else whole("TensorBatches: seed", self.seed)
        one = first_of(self.x)
        self.samples, self.device = len(one), one.device

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from one of them on."""
        order = None
        if self.seed is not None:  # on the CPU, so that one seed is one order on every device
            generator = torch.Generator().manual_seed((self.seed + number) % 2**63)
            order = torch.randperm(self.samples, generator=generator).to(self.device)
        for begin in range(first * self.batch_size, self.samples, self.batch_size):
            end = min(begin + self.batch_size, self.samples)
            if order is None and self.process_group.size == 1:
                rows = slice(begin, end)
                columns = (self.x, self.y, self.weight)
                x, y, weight = (_rows(value, rows) for value in columns)
                x = each(Tensor.clone, x)  # a layer in place must not change the user's array
                yield Batch(x, y, weight, end - begin, 1.0)
            else:
                yield self._select(order, begin, end)

    def config(self) -> dict[str, Any]:
        """Number of samples and size of the batches."""
        return {"samples": self.samples, "batch_size": self.batch_size}

    def _select(self, order: Tensor | None, first: int, last: int) -> Batch:
        if order is None:
            rows = torch.arange(first, last, device=self.device)
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
        x = _select(self.x, rows)
        if self.y is None or self.y is self.x:  # x of an autoencoder
            y = None if self.y is None else x
        else:
            y = _select(self.y, rows)
        return Batch(x, y, weight, samples, share)


def _select(value: Any, rows: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value.index_select(0, rows)
    return each(lambda part: part.index_select(0, rows), value)


def _rows(value: Any, part: slice) -> Any:
    if value is None or isinstance(value, Tensor):
        return None if value is None else value[part]
    return each(lambda inner: inner[part], value)


@dataclass(eq=False, repr=False)
class LoaderBatches(Batches):
    """Batches of a torch DataLoader that gives (x, y) or (x, y, weight).

    It has a length; its sampler is a DistributedSampler where several processes train, else it
    would give all of them the same samples.
    """

    where: str  # the function that the user called, or its argument, for the text of errors
    loader: DataLoader
    convert: Callable[[Any, Any], tuple[Any, Any]]  # x and y for model and loss
    device: torch.device
    process_group: ProcessGroup = SINGLE_PROCESS
    train: bool = True  # whether the batches are trained on
    targets: bool = True  # whether there must be y

    def __post_init__(self) -> None:
        loader, where = self.loader, f"{self.where}: x"
        try:
            length = len(loader)
        except TypeError as error:
            raise ValueError(
                f"{where}: expected a DataLoader with a length, got one of an iterable dataset; "
                "give the dataset a __len__"
            ) from error
        got, remedy = "an empty DataLoader", "give it data, or drop_last=False"
        check(length > 0, where, "at least one batch", got, remedy)
        self.samples = len(loader.dataset)  # type: ignore[arg-type]
        self.generator: torch.Generator | None = loader.generator
        self._at_epoch: dict[str, Tensor] = {}
        divided = isinstance(loader.sampler, DistributedSampler)
        good = self.process_group.size == 1 or not self.train or divided
        expected = "a DataLoader with a DistributedSampler, as several processes train"
        got = "one that gives all of them the same samples"
        remedy = "write DataLoader(data, sampler=torch.utils.data.DistributedSampler(data))"
        check(good, where, expected, got, remedy)

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from one of them on."""
        if isinstance(self.loader.sampler, DistributedSampler):
            self.loader.sampler.set_epoch(number)
        if first:  # what was drawn before is drawn again, and then forgotten
            random_state.restore(self._at_epoch, self.generator)
        else:
            self._at_epoch = random_state.capture(self.generator)
        batches = iter(self.loader)
        for _ in range(first):
            next(batches)
        if first and self.generator is not None:
            self.generator.set_state(self._own)
        return map(self._batch, batches)

    def config(self) -> dict[str, Any]:
        """Number of samples and of batches."""
        return {"samples": self.samples, "updates an epoch": len(self)}

    def state_dict(self) -> dict[str, Any]:
        """Random numbers at the start of the epoch, and those of a generator of its own."""
        own = None if self.generator is None else self.generator.get_state()
        return {"at_epoch": self._at_epoch, "own": own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self._at_epoch, self._own = state["at_epoch"], state["own"]
        if self.generator is not None:
            self.generator.set_state(self._own)

    def _batch(self, batch: Any) -> Batch:
        return as_batch(f"{self.where}: x", batch, self.convert, self.device, self.targets)


def as_batch(
    where: str,
    batch: Any,
    convert: Callable[[Any, Any], tuple[Any, Any]],
    device: torch.device,
    targets: bool,
) -> Batch:
    """A batch of what a DataLoader or generator gives: (x, y), (x, y, weight), or x alone."""
    if not targets and not isinstance(batch, (tuple, list)):
        batch = (batch, None)
    good = isinstance(batch, (tuple, list)) and len(batch) in (2, 3)
    expected, remedy = "batches (x, y) or (x, y, weight)", "give a DataLoader a TensorDataset(x, y)"
    check(good, where, expected, type(batch).__name__, remedy)
    x, y = convert(*batch[:2])
    one = first_of(x)
    weight = torch.as_tensor(batch[2]).to(device, one.dtype) if len(batch) == 3 else None
    return Batch(x, y, weight, len(one), 1.0)


def samples_of(batch: Any) -> Any:
    """The samples in what a DataLoader gives, x or (x, ...)."""
    return batch[0] if isinstance(batch, (tuple, list)) else batch
