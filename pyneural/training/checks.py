"""Checks of what a user gives, with errors that say what was expected, got, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


def check(good: bool, where: str, expected: str, got: object, remedy: str = "correct it") -> None:
    """Raises ValueError unless it is good; ``where`` names function and argument, as "fit: x"."""
    if not good:
        raise ValueError(f"{where}: expected {expected}, got {got}; {remedy}")


def check_count(where: str, value: object, usual: int) -> None:
    """Raises ValueError unless a value is a whole number >= 1."""
    good = isinstance(value, int) and value >= 1
    check(good, where, "a whole number >= 1", repr(value), f"write {usual}")


def look_up(where: str, name: str, table: Mapping[str, Value]) -> Value:
    """The entry of a table of that name, in any case of letters.

    Args:
        where: for the text of the error, as "compile: loss".
        name: what the user wrote.
        table: by names in lower case.

    Raises:
        ValueError: there is none; the text has the nearest names.

    >>> look_up("compile: loss", "MSE", {"mse": 1})
    1
    >>> look_up("compile: loss", "mean_square_error", {"mean_squared_error": 1, "hinge": 2})
    Traceback (most recent call last):
    ValueError: compile: loss: expected a known name, got 'mean_square_error'; did you mean
    'mean_squared_error'?
    """
    key = name.lower()
    if key in table:
        return table[key]
    near = difflib.get_close_matches(key, table, n=2)
    remedy = (
        f"did you mean {' or '.join(map(repr, near))}?"
        if near
        else f"write one of {', '.join(sorted(table))}"
    )
    raise ValueError(f"{where}: expected a known name, got {name!r}; {remedy}")
