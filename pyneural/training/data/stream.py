"""Batches of a generator, or of anything else that gives them one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from pyneural.training.checks import check
from pyneural.training.data.batches import Batch, Batches, as_batch


class Stream:
    """A generator of batches, of which the first one can be looked at before it is taken.

    >>> numbers = Stream(iter([1, 2, 3]))
    >>> numbers.first(), next(iter(numbers)), list(numbers)
    (1, 1, [2, 3])
    """

    def __init__(self, source: Any) -> None:
        self.source, self._once = source, hasattr(source, "__next__")
        self._iterator: Iterator[Any] | None = iter(source)  # of the pass that comes next

    def first(self) -> Any:
        """The next batch, which stays where it is; None where there is none."""
        batches = iter(self)
        found = next(batches, None)
        self._iterator = batches if found is None else chain([found], batches)
        return found

    def __iter__(self) -> Iterator[Any]:
        """What is left of a generator; all batches anew of what can begin again.

        The iterator that was looked at is that of the first pass: an iterable may give the same one
        each time, and a second one would lack the batch that was looked at.
        """
        batches = iter(self.source) if self._iterator is None else self._iterator
        self._iterator = batches if self._once else None
        return batches


def first_batch(where: str, loader: DataLoader) -> Any:
    """The first batch of a loader that gives it again; ValueError of one that would lose it."""
    data = loader.dataset
    goes_on = isinstance(data, IterableDataset) and iter(data) is iter(data)
    expected = "a dataset that begins anew each time, as the weights are made from its first batch"
    remedy = "call the model with one batch first"
    check(not goes_on, f"{where}: x", expected, "one that goes on", remedy)
    return next(iter(loader), None)


def is_stream(x: Any) -> bool:
    """Whether it gives batches, and is neither an array nor a DataLoader with a length."""
    if isinstance(x, DataLoader):
        try:
            len(x)
        except TypeError:
            return True
        return False
    array = hasattr(x, "__len__") or hasattr(x, "__array__")
    return isinstance(x, Stream) or hasattr(x, "__next__") or (hasattr(x, "__iter__") and not array)


def as_stream(argument: str, x: Any, steps: int | None) -> Any:
    """A stream of what gives batches; anything else as it is, ValueError if there are steps.

    TypeError of a dataset, of which it is not known whether it gives samples or batches.
    """
    where, expected = argument.partition(":")[0], "arrays, tensors, a generator or a DataLoader"
    remedy = "write DataLoader(x, batch_size=32), or batch_size=None if each x[i] is a batch"
    check(not _is_dataset(x), f"{where}: x", expected, type(x).__name__, remedy, TypeError)
    if is_stream(x):
        return Stream(x)
    expected, remedy = "none, unless x is a generator", "choose batch_size instead"
    check(steps is None, argument, expected, steps, remedy)
    return x


def _is_dataset(x: Any) -> bool:
    """Whether it has items and is neither an array nor a container of Python's."""
    if isinstance(x, (Stream, DataLoader, Mapping, Sequence)) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__len__") and hasattr(x, "__getitem__")


@dataclass(eq=False, repr=False)
class StreamBatches(Batches):
    """So many batches an epoch of a stream of (x, y) or (x, y, weight)."""

    where: str  # the function that the user called, or its argument, for the text of errors
    stream: Stream
    steps: int | None  # an epoch, >= 1; None for all that there are
    convert: Callable[[Any, Any], tuple[Any, Any]]  # x and y for model and loss
    device: torch.device
    targets: bool = True  # whether there must be y
    argument: str = "steps_per_epoch"  # what says how many

    def __len__(self) -> int:
        return 0 if self.steps is None else int(self.steps)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The next batches; ValueError where there are too few."""
        left = None if self.steps is None else int(self.steps) - first
        for batch in taken(self.where, self.stream, left, self.argument, f"epoch {number + 1}"):
            yield as_batch(f"{self.where}: x", batch, self.convert, self.device, self.targets)

    def config(self) -> dict[str, Any]:
        """Number of batches."""
        return {"updates an epoch": len(self)}


def taken(
    where: str, stream: Stream, steps: int | None, argument: str = "steps", place: str = ""
) -> Iterator[Any]:
    """So many batches of a stream, or all of them; ValueError where there are too few."""
    given = 0
    for batch in islice(stream, None if steps is None else int(steps)):
        given += 1
        yield batch
    wanted = "at least one batch" if steps is None else f"{steps} batches"
    expected = f"{wanted} in {place}" if place else wanted
    remedy = f"let the generator go on for ever, or lower {argument}"
    remedy = "make it anew, as it can be gone through only once" if steps is None else remedy
    good = given > 0 if steps is None else given == steps
    check(good, f"{where}: x", expected, given or "none", remedy)
