"""Checks of what a user gives, with errors that say what was expected, got, and what to do."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pyneural.errors import is_whole

Value = TypeVar("Value")


def check(
    good: bool,
    where: str,
    expected: str,
    got: object,
    remedy: str = "correct it",
    error: type[Exception] = ValueError,
) -> None:
    """Raises an error unless it is good; ``where`` names function and argument, as "fit: x"."""
    if not good:
        raise error(f"{where}: expected {expected}, got {got}; {remedy}")


def check_count(where: str, value: Any, usual: int) -> None:
    """Raises ValueError unless a value is a whole number >= 1."""
    good = is_whole(value) and value >= 1
    check(good, where, "a whole number >= 1", repr(value), f"write {usual}")


def look_up(where: str, name: str, table: Mapping[str, Value]) -> Value:
    """The entry of a table in lower case, by its name in any case; an error has the nearest names.

    >>> look_up("compile: loss", "mean_square_error", {"mean_squared_error": 1, "hinge": 2})
    Traceback (most recent call last):
    ValueError: compile: loss: expected a known name, got 'mean_square_error'; did you mean
    'mean_squared_error'?
    """
    key = name.lower()
    near = " or ".join(map(repr, difflib.get_close_matches(key, table, n=2)))
    remedy = f"did you mean {near}?" if near else f"write one of {', '.join(sorted(table))}"
    check(key in table, where, "a known name", repr(name), remedy)
    return table[key]
