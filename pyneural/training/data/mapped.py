"""Arrays in files that are mapped into memory, of which only the rows of a batch are copied."""

import mmap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyneural.training.data.tensors import NotFiniteError

_CHUNK = 2**16  # elements that are looked at in one go

Convert = Callable[[str, Any], Tensor]  # of rows, which have that name in the text of errors


class MappedRows:
    """Rows of an array in a file, [N, ...], read and converted when a batch of them is asked for.

    It stands in for a tensor in ``TensorBatches``.
    """

    def __init__(self, name: str, array: np.ndarray, convert: Convert) -> None:
        self.name, self.array, self.convert = name, array, convert
        first = convert(name, array[:1])
        self.shape = torch.Size((len(array), *first.shape[1:]))
        self.dtype, self.device = first.dtype, first.device
        self.is_view = first.device.type == "cpu" and first.data_ptr() == array[:1].ctypes.data

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: slice) -> Tensor:
        return self.convert(self.name, self.array[rows])

    def index_select(self, dimension: int, rows: Tensor) -> Tensor:
        """Rows by their numbers; the dimension is 0."""
        return self.convert(self.name, self.array[rows.cpu().numpy()])

    def chunks(self) -> Iterator[Tensor]:
        """All rows, some at a time."""
        size = max(1, _CHUNK * len(self) // max(1, self.array.size))
        for begin in range(0, len(self), size):
            part = self.array[begin : begin + size]
            try:
                converted_part = self.convert(f"{self.name}[{begin}:{begin + len(part)}]", part)
            except NotFiniteError as error:  # which counts samples from those of the part
                sample = begin + error.sample
                raise NotFiniteError(error.where, error.numbers, sample) from error
            yield converted_part

    def then(self, function: Callable[[Tensor], Tensor]) -> "MappedRows":
        """The rows with a function of them, after what they are converted to."""
        convert = self.convert
        return MappedRows(self.name, self.array, lambda name, part: function(convert(name, part)))


def converted(name: str, value: Any, convert: Convert, mapped: bool = True) -> Any:
    """The tensor of an array; the rows of one in a file, if converting it would copy it.

    All rows are looked at. ``mapped`` is False where a tensor is needed in any case.
    """
    if not (mapped and _in_file(value) and value.ndim and len(value)):
        return convert(name, value)
    rows = MappedRows(name, value, convert)
    if rows.is_view:
        return convert(name, value)
    for _ in rows.chunks():
        pass
    return rows


def parts_of(value: Any) -> Iterator[Tensor]:
    """A tensor, or the rows of a file, some at a time."""
    if isinstance(value, MappedRows):
        yield from value.chunks()
    else:
        yield value


def _in_file(value: Any) -> bool:
    while isinstance(value, np.ndarray):
        value = value.base
    return isinstance(value, mmap.mmap)
