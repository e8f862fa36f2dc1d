"""Batches of a generator, or of anything else that gives them one after the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
from torch.utils.data import DataLoader

from pyneural.training.checks import check, check_count
from pyneural.training.data.batches import Batch, Batches, as_batch


class Stream:
    """A generator of batches, of which the first one can be looked at before it is taken.

    >>> numbers = Stream(iter([1, 2, 3]))
    >>> numbers.first(), next(iter(numbers)), list(numbers)
    (1, 1, [2, 3])
    """

    def __init__(self, source: Any) -> None:
        self.source, self._begun = source, hasattr(source, "__next__")
        self._iterator = iter(source)

    def first(self) -> Any:
        """The next batch, which stays where it is; None where there is none."""
        found = next(self._iterator, None)
        if found is not None:
            self._iterator = chain([found], self._iterator)
        return found

    def __iter__(self) -> Iterator[Any]:
        """What is left of a generator; all batches anew of what can begin again."""
        return self._iterator if self._begun else iter(self.source)


def is_stream(x: Any) -> bool:
    """Whether it gives batches, and is neither an array nor a DataLoader with a length."""
    if isinstance(x, DataLoader):
        try:
            len(x)
        except TypeError:
            return True
        return False
    return isinstance(x, Stream) or hasattr(x, "__next__")


@dataclass(eq=False, repr=False)
class StreamBatches(Batches):
    """So many batches an epoch of a stream of (x, y) or (x, y, weight)."""

    where: str  # the function that the user called, for the text of errors
    stream: Stream
    steps: int  # an epoch, >= 1
    convert: Callable[[Any, Any], tuple[Any, Any]]  # x and y for model and loss
    device: torch.device
    targets: bool = True  # whether there must be y
    argument: str = "steps_per_epoch"  # what says how many

    def __post_init__(self) -> None:
        check_count(f"{self.where}: {self.argument}", self.steps, 100)

    def __len__(self) -> int:
        return int(self.steps)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The next batches; ValueError where there are too few."""
        given = first
        for batch in islice(self.stream, len(self) - first):
            given += 1
            yield as_batch(f"{self.where}: x", batch, self.convert, self.device, self.targets)
        expected, got = f"{len(self)} batches in epoch {number + 1}", given
        remedy = f"let the generator go on for ever, or lower {self.argument}"
        check(given == len(self), f"{self.where}: x", expected, got, remedy)

    def config(self) -> dict[str, Any]:
        """Number of batches."""
        return {"updates an epoch": len(self)}
