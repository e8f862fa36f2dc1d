"""A cache for pure functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch

_Result = TypeVar("_Result")


def cached(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """``functools.lru_cache``, without the warning with which torch.compile traces through one.

    The function is given lists as tuples.

    >>> @cached
    ... def square(n: int) -> int:
    ...     return n * n
    >>> square(3)
    9
    """
    remembered = functools.lru_cache(maxsize=256)(function)

    @functools.wraps(function)
    def call(*args: Any) -> _Result:
        args = tuple(tuple(arg) if isinstance(arg, list) else arg for arg in args)
        return function(*args) if torch.compiler.is_compiling() else remembered(*args)

    return call
