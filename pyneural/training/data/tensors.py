"""Tensors of what a user gives: arrays, lists, frames; refused where they would be misread."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyneural.training.checks import check


def to_tensor(where: str, value: Any) -> Tensor:
    """A tensor of what is given: array, list, frame, or tensor (as it is); no copy if possible."""
    if isinstance(value, Tensor):
        dense = value.layout == torch.strided and type(value).__name__ != "MaskedTensor"
        got = type(value).__name__ if value.layout == torch.strided else str(value.layout)
        check(dense, where, "a dense tensor", got, "call its to_dense() or to_tensor(0)", TypeError)
    else:
        if isinstance(value, np.ma.MaskedArray):
            masked = int(np.ma.count_masked(value))
            got = f"a masked array in which {masked:,} are hidden"
            remedy = "replace them (.filled(value)) or leave those samples out"
            check(masked == 0, where, "an array of values that all count", got, remedy)
            value = value.data
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(
                f"{where}: expected rows of one length, got {error}; pad or cut them"
            ) from error
        got, remedy = f"{type(value).__name__} of dtype {array.dtype}", "turn it into a float array"
        check(array.dtype.kind in "fiub", where, "an array of numbers", got, remedy, TypeError)
        # torch takes neither another byte order nor negative strides.
        usable = all(step >= 0 for step in array.strides) and array.dtype.isnative
        native = array.dtype.newbyteorder("=")
        with warnings.catch_warnings():
            # Of an array that cannot be written, as of a file in memory. Nothing here writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            value = torch.from_numpy(array if usable else np.array(array, dtype=native, order="C"))
    good, got = value.dim() > 0 and len(value) > 0, f"shape {tuple(value.shape)}"
    expected = "at least one sample in the first dimension"
    check(good, where, expected, got, "give [samples, ...]")
    return value.detach()


class NotFiniteError(ValueError):
    """Some numbers are nan or infinite, the first of them in a sample."""

    def __init__(self, where: str, numbers: str, sample: int) -> None:
        super().__init__(
            f"{where}: expected finite numbers, got {numbers} that are nan or infinite (first in "
            f"sample {sample}); remove or replace them"
        )
        self.where, self.numbers, self.sample = where, numbers, sample


def check_finite(where: str, value: Tensor) -> None:
    """NotFiniteError with the number of values that are nan or infinite."""
    # The extremes, which nan passes on to, are found ten times as fast as all that is not finite.
    if value.is_floating_point() and not all(end.isfinite() for end in value.aminmax()):
        bad = ~value.isfinite()
        sample = int(bad.reshape(len(bad), -1).any(1).nonzero()[0])
        raise NotFiniteError(where, f"{int(bad.sum()):,} of {value.numel():,}", sample)


def condition_columns(where: str, c: Any, width: int | None, like: Tensor) -> Tensor:
    """Conditions of samples as columns [N, width] of the dtype and device of another tensor.

    Whole numbers [N] are classes, of which each has a column; a width of None takes any number of
    columns.

    >>> condition_columns("sample: condition", torch.tensor([1, 0]), 2, torch.zeros(2))
    tensor([[0., 1.],
            [1., 0.]])
    """
    c = to_tensor(where, c).to(like.device)
    if not c.is_floating_point() and c.dim() == 1 and width:
        good = bool((c >= 0).all() and (c < width).all())
        check(good, where, f"classes from 0 to {width - 1}", f"{c.min()} to {c.max()}")
        return torch.nn.functional.one_hot(c.long(), width).to(like.dtype)
    c = c.to(like.dtype)
    c = c[:, None] if c.dim() == 1 else c
    good = width is None or (c.dim() == 2 and c.shape[1] == width)
    check(good, where, f"[N, {width}]", list(c.shape), f"or make the parts with condition={width}")
    return c


def check_length(where: str, value: Any, samples: int) -> None:
    """ValueError unless there is a row for each sample."""
    expected, remedy = f"{samples:,} samples, as x has", "give one row of each for each sample"
    check(len(value) == samples, where, expected, f"{len(value):,}", remedy)


def check_range(where: str, y: Tensor, high: int, why: str) -> None:
    """ValueError unless values are from 0 to ``high``."""
    if y.numel() == 0:
        return
    least, most = y.aminmax()
    if least < 0 or most > high:
        outside = int(((y < 0) | (y > high)).sum())
        from_one = not y.is_floating_point() and least == 1 and most == high + 1
        remedy = "subtract 1, as classes count from 0" if from_one else "scale or renumber them"
        raise ValueError(
            f"{where}: expected values from 0 to {high}, as {why}, got {outside:,} outside "
            f"(from {least.item():g} to {most.item():g}); {remedy}"
        )


def check_index(where: str, x: Any, value: Any) -> None:
    """ValueError where two frames of pandas have rows of different names, or in another order."""
    both = hasattr(x, "iloc") and hasattr(value, "iloc")
    good = not both or x.index.equals(value.index)
    got, remedy = "another one", "write y.loc[x.index], or to_numpy() if the rows are in one order"
    check(good, where, "the index that x has, in its order", got, remedy)


def rows(value: Any, begin: int | None, end: int | None) -> Any:
    """Rows by their place, which a frame's own index may say otherwise."""
    return value.iloc[begin:end] if hasattr(value, "iloc") else value[begin:end]


def columns_of(value: Any) -> list[Any] | None:
    """The names of a frame's columns; None of what has none."""
    return list(value.columns) if hasattr(value, "iloc") and hasattr(value, "columns") else None
