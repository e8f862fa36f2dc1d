"""Checks of data and contexts, a column each, with errors that name the column."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyneural.errors import check_argument, check_tensor, is_whole
from pyneural.ops.transforms import by_torch_func, is_recorded


def column_name(number: int, names: Any = None) -> str:
    """What an error calls a column, with its name in a frame.

    >>> column_name(1, ["redshift", "u"])
    "column 1 ('u')"
    """
    return f"column {number}" if names is None else f"column {number} ({names[number]!r})"


def are_readable(x: Tensor) -> bool:
    """Whether the values can be looked at: not while torch maps, compiles or records the call."""
    return not (by_torch_func() or is_recorded() or torch.compiler.is_compiling() or x.is_meta)


def check_finite_columns(where: str, x: Tensor, names: Any = None) -> None:
    """ArgumentError where a column of [..., D] has values that are nan or infinite."""
    finite = x.isfinite()
    if finite.all():
        return
    rows = ~finite.reshape(-1, x.shape[-1])
    column = int(rows.any(0).nonzero()[0])
    bad = rows[:, column]
    got = (
        f"{int(bad.sum()):,} that are nan or infinite in {column_name(column, names)} (first in "
        f"row {int(bad.nonzero()[0])})"
    )
    check_argument(False, where, "finite numbers", got, "remove those rows or replace them")


def check_columns(where: str, x: Tensor, names: Any = None) -> None:
    """ArgumentError where a column of [N, D] is constant or not finite: it has no density."""
    check_finite_columns(where, x, names)
    check_argument(len(x) > 1, where, "two or more rows", len(x), "give more data")
    check_varying(where, x.amin(0), x.amax(0), len(x), names)


def check_varying(where: str, low: Tensor, high: Tensor, rows: int, names: Any = None) -> None:
    """ArgumentError where the smallest and largest value of a column, [D] each, are the same."""
    constant = low == high
    if constant.any():
        column = int(constant.nonzero()[0])
        name, value = column_name(column, names), float(low[column])
        got = f"{name} constant, {value:g} in all {rows:,} rows"
        check_argument(False, where, "columns that vary", got, "leave it out: it has no density")


def check_context(
    where: str, c: Tensor | None, length: int, missing: str = "call flow(context)"
) -> None:
    """ArgumentError unless a context [..., length] is given where there is to be one.

    Args:
        where: function and argument, for the text of the error.
        c: the context, or None.
        length: C.
        missing: remedy where there is none.
    """
    if c is None and length == 0:
        return
    if c is not None:
        check_tensor(where, c)
    if c is None:
        got, remedy = "None", missing
    elif length == 0:
        got, remedy = str(list(c.shape)), f"make it with context={c.shape[-1] if c.dim() else 1}"
        if c.dim() == 1 and len(c) > 1:
            remedy += f", or with context=1 for a column, [{len(c)}, 1]"
    elif c.dim() == 0 or c.shape[-1] != length:
        got, remedy = str(list(c.shape)), f"give {length} columns, or make it for other ones"
        if length == 1 and c.dim() == 1:
            remedy = "write context[:, None]"
    else:
        return
    expected = f"[..., {length}]" if length else "None, as it was made with context=0"
    check_argument(False, where, expected, got, remedy)


def check_counts(kind: object, **counts: Any) -> None:
    """ArgumentError unless numbers of a constructor are whole, and >= 1 if they may not be 0."""
    for name, count in counts.items():
        least = 0 if name in ("context", "freqs") else 1
        where, good = f"{type(kind).__name__}: {name}", is_whole(count) and count >= least
        check_argument(good, where, f"a whole number >= {least}", repr(count), "write 3")


def check_each(where: str, values: Any, features: int) -> None:
    """ArgumentError unless there is a value for each feature."""
    got = len(values) if hasattr(values, "__len__") else repr(values)
    expected, remedy = f"{features}, one for each feature", "write None or False for the others"
    check_argument(got == features, where, expected, got, remedy)
