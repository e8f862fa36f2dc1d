"""A table of the user's own: read, and what does not fit named, refused or left out with a word."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pyneural.errors import ArgumentError, check_argument

FEWEST = 200  # rows, below which nothing can be told
_MISSING = ("NA", "N/A", "n/a", "<NA>", "#N/A", "NULL", "null", "None")  # of pandas, no numbers
_MOST_LOST = 0.5  # share of the rows with missing values
_KINDS = ".csv", ".parquet", ".npy"
_SEPARATORS = ",;\t|"
_WHERE = "compare: data"
_NOTE = "note of pyneural"  # among the ``attrs`` of a frame


class Table(NamedTuple):
    """Numbers, and what was done to get them."""

    x: np.ndarray  # float64 [N, D]
    names: list[str]
    notes: list[str]


def read_file(path: str | os.PathLike[str]) -> Any:
    """The content of a .csv or .parquet file as a frame of pandas, of .npy as an array.

    Columns of a .csv are separated by commas, semicolons, tabs or bars: by what the first line has
    most of. That line has the names of the columns, unless it holds numbers: then it is a row, as
    ``numpy.savetxt`` writes it, and the columns are numbered, which ``clean_table`` notes. Numbers
    0, 1, ... are names, as pandas gives them to columns without one.

    Raises:
        ArgumentError: a file of another kind, one that cannot be read, or a name of two columns.
        FileNotFoundError: no file there.
        ImportError: pandas is not installed, or for .parquet pyarrow.
    """
    path = Path(path)
    kind, remedy = path.suffix.lower(), "write galaxies, digits or mnist, or convert the file"
    check_argument(kind in _KINDS, _WHERE, f"a file {', '.join(_KINDS)}", path, remedy)
    if not path.is_file():
        raise FileNotFoundError(f"{_WHERE}: expected a file, got {path}, which is none")
    try:
        if kind == ".npy":
            with open(path, "rb") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        return _read_parquet(path) if kind == ".parquet" else _read_csv(path)
    except ArgumentError:
        raise
    except (ValueError, EOFError, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "write the file anew"
        if kind == ".csv":
            remedy += " in UTF-8, a row a line with the names of the columns in the first"
        raise ArgumentError(
            f"{_WHERE}: expected a table that can be read in {path}, got: {reason}; {remedy}"
        ) from error


def _read_parquet(path: Path) -> Any:
    pandas = _pandas()
    try:
        return pandas.read_parquet(path)
    except ImportError as error:
        raise ImportError(
            f"{_WHERE}: expected pyarrow to read {path}, got none; pip install pyarrow"
        ) from error


def _read_csv(path: Path) -> Any:
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
    separator = max(_SEPARATORS, key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
    named = [name for name in names if name]  # pandas would number the others
    pandas = _pandas()
    options: dict[str, Any] = {"skipinitialspace": True, "low_memory": False}
    if _are_data([name for name in named if name not in _MISSING]):
        options |= {"header": None, "encoding": "utf-8-sig"}
    else:
        _check_names(named)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        try:  # a first column without a name is no index, or names and columns would not agree
            frame = pandas.read_csv(path, sep=separator, index_col=False, **options)
        except pandas.errors.ParserWarning as error:
            raise ArgumentError(
                f"{_WHERE}: expected as many values in each row as there are names ({len(names)}), "
                f"got more in {path}; write a name above each column"
            ) from error
    return _noted(frame, names, "header" in options)


def _noted(frame: Any, names: Sequence[str], nameless: bool) -> Any:
    """The frame, with a note where its first line might have been taken for what it is not."""
    if nameless:
        if not names[-1] and bool(frame.iloc[:, -1].isna().all()):  # a separator at the line's end
            frame = frame.iloc[:, :-1]
        frame.attrs[_NOTE] = (
            f"the first line holds numbers and is taken for a row, the columns are numbered from 0 "
            f"to {frame.shape[1] - 1}: if it holds names, begin each with a letter"
        )
    elif _are_numbering([name for name in names if name]):
        numbers = [_numbers(column) for column in _columns(frame).values()]
        if all(column is None or (column == np.floor(column)).all() for column in numbers):
            frame.attrs[_NOTE] = (
                f"the first line, {', '.join(names)}, is taken for the names of the columns, as "
                "pandas numbers them: if it is a row, write names above it"
            )
    return frame


def clean_table(content: Any, drop: Sequence[str] = ()) -> Table:
    """The numbers of a frame, or of an array [N, D] or with named fields.

    Refused, by name: columns of text, times and other things that are no numbers, unless they are
    dropped; a table that would lose more than half of its rows; fewer than 200 rows; fewer than two
    columns. Left out, with a note: rows with missing or infinite values, constant columns, and
    copies of rows where not all columns are whole numbers.

    Args:
        content: of ``read_file``.
        drop: names of columns to leave out; of an array their numbers.

    Raises:
        ArgumentError: as above, and names in ``drop`` that are none of a column.

    >>> rows = np.random.default_rng(0).normal(size=(300, 3))
    >>> rows[0, 1], rows[:, 2] = np.nan, 4.0
    >>> print("; ".join(clean_table(rows).notes))
    1 of 300 rows left out: missing values in column 1 (1); column 2 left out: it is 4 in all rows
    """
    columns, notes = _columns(content), list[str]()
    remedy_few = "give more: from so few a model cannot be told from another"
    count = min((len(column) for column in columns.values()), default=0)
    check_argument(count >= FEWEST, _WHERE, f"{FEWEST} rows or more", f"{count:,}", remedy_few)
    unknown = [name for name in drop if name not in columns]
    remedy = f"there are {', '.join(columns)}"
    check_argument(not unknown, "compare: drop", "names of columns", unknown, remedy)
    if not isinstance(content, np.ndarray):
        if _are_data(columns):
            some = ", ".join(columns)
            notes.append(f"the columns are named {some}: if these are data, write names above them")
        notes += [content.attrs[_NOTE]] if _NOTE in content.attrs else []
    columns = {name: column for name, column in columns.items() if name not in drop}
    nameless = [name for name in columns if name.startswith("Unnamed: ")]  # by pandas
    if nameless:
        some = ",".join(nameless)
        notes.append(f"no name above a column: if it numbers the rows, write --drop {some!r}")
    numbers = {name: _numbers(column) for name, column in columns.items()}
    strange = [name for name, column in numbers.items() if column is None]
    if strange:
        got = "; ".join(f"{_title(name)} with {_example(columns[name])}" for name in strange)
        raise ArgumentError(
            f"{_WHERE}: expected columns of numbers, got {got}; leave them out with --drop "
            f"{','.join(strange)!r}, or write numbers in their place, with decimal points"
        )
    check_argument(len(numbers) > 0, _WHERE, "columns of numbers", "none", "drop fewer")
    x = np.stack([column for column in numbers.values() if column is not None], 1)
    names = list(numbers)
    x = _without_bad_rows(x, names, notes)
    x, names = _without_constants(x, names, notes)
    remedy = "for a single one a histogram is enough"
    check_argument(len(names) >= 2, _WHERE, "two columns or more that vary", names, remedy)
    x = _without_copies(x, notes)
    got = f"{len(x):,} ({'; '.join(notes)})"
    check_argument(len(x) >= FEWEST, _WHERE, f"{FEWEST} rows or more", got, remedy_few)
    return Table(x, names, notes)


def _pandas() -> Any:
    try:
        return import_module("pandas")
    except ImportError as error:
        raise ImportError(
            f"{_WHERE}: expected pandas to read a table, got none; pip install "
            "'pyneural[tables]', or save the numbers by numpy.save"
        ) from error


def _columns(content: Any) -> dict[str, Any]:
    """Columns by name, as NumPy arrays or as pandas has them."""
    if not isinstance(content, np.ndarray):
        good, got = hasattr(content, "columns") and hasattr(content, "iloc"), type(content).__name__
        expected = "an array or a frame of pandas"
        check_argument(good, _WHERE, expected, got, "write numpy.asarray")
        names = [str(name).strip() for name in content.columns]
        _check_names(names)
        return {name: content.iloc[:, place] for place, name in enumerate(names)}
    if content.dtype.names is not None and content.ndim == 1:
        return {name: content[name] for name in content.dtype.names}
    good, remedy = content.ndim == 2, "save rows [N, D], or images [N, H, W] or [N, C, H, W]"
    check_argument(good, _WHERE, "an array [N, D]", f"shape {list(content.shape)}", remedy)
    return {str(place): content[:, place] for place in range(content.shape[1])}


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    check_argument(not twice, _WHERE, "a name for each column", f"{twice} twice", "rename them")


def _numbers(column: Any) -> np.ndarray | None:
    """The values as float64 with NaN where they are missing; None where they are no numbers."""
    array = column if isinstance(column, np.ndarray) else _plain(column)
    if array is None or array.dtype.kind not in "biuf":
        return None
    return np.ma.filled(array.astype(np.float64), np.nan)  # where it is a masked array


def _plain(column: Any) -> np.ndarray | None:
    types = import_module("pandas").api.types
    if types.is_bool_dtype(column.dtype) or types.is_numeric_dtype(column.dtype):
        if types.is_complex_dtype(column.dtype):
            return None
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return None


def _example(column: Any) -> str:
    """What is in a column that holds no numbers."""
    values = column if isinstance(column, np.ndarray) else column.dropna().to_numpy()
    for value in values:
        if isinstance(value, str):
            if _number(value) is None:
                return f"{str(value)[:30]!r}"
        elif not isinstance(value, (int, float)):
            return type(value).__name__
    return str(column.dtype)


def _are_data(names: Iterable[str]) -> bool:
    """Whether names are numbers, as of a file without names.

    >>> _are_data(["3", "0.5"]), _are_data(["0", "1"]), _are_data(["x", "1"])
    (True, False, False)
    """
    names = list(names)
    numbers = [_number(name) for name in names]
    return len(names) > 0 and None not in numbers and not _are_numbering(names)


def _are_numbering(names: Sequence[str]) -> bool:
    """Whether names are 0, 1, ..., as pandas numbers columns."""
    return len(names) > 0 and list(names) == [str(place) for place in range(len(names))]


def _number(text: str) -> float | None:
    """The number that a text is; None if it is none: 1_0 is a name, though Python reads 10."""
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _title(name: str) -> str:
    return f"column {name}"


def _without_bad_rows(x: np.ndarray, names: Sequence[str], notes: list[str]) -> np.ndarray:
    lost = np.zeros(len(x), bool)
    found = []
    for kind, bad in (("missing", np.isnan(x)), ("infinite", np.isinf(x))):
        if bad.any():
            counts = bad.sum(0)
            order = [place for place in np.argsort(-counts) if counts[place]]
            where = ", ".join(f"{_title(names[i])} ({counts[i]:,})" for i in order)
            found.append(f"{kind} values in {where}")
            lost |= bad.any(1)
    if not found:
        return x
    text = f"{lost.sum():,} of {len(x):,} rows left out: {'; '.join(found)}"
    remedy = "leave those columns out with --drop, or fill in values yourself"
    good = lost.mean() <= _MOST_LOST
    check_argument(good, _WHERE, "most rows without missing values", text, remedy)
    notes.append(text)
    return x[~lost]


def _without_constants(
    x: np.ndarray, names: Sequence[str], notes: list[str]
) -> tuple[np.ndarray, list[str]]:
    if not len(x):
        return x, list(names)
    constant = (x == x[0]).all(0)
    for place in constant.nonzero()[0]:
        notes.append(f"{_title(names[place])} left out: it is {x[0, place]:g} in all rows")
    kept = (~constant).nonzero()[0]
    return x[:, kept], [names[place] for place in kept]


def _without_copies(x: np.ndarray, notes: list[str]) -> np.ndarray:
    """Of rows of whole numbers copies are a part of the distribution; of others a mistake."""
    if (x == np.floor(x)).all():
        return x
    _, first = np.unique(x, axis=0, return_index=True)
    if len(first) < len(x):
        notes.append(f"{len(x) - len(first):,} of {len(x):,} rows left out: copies of others")
    return x[np.sort(first)]
