"""Trainings that are parts of an experiment."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ISOLATED = ContextVar("isolated", default=False)


@contextmanager
def isolated() -> Iterator[None]:
    """Context in which a training is one process's own, and Ctrl-C ends it at once.

    Elsewhere all processes that ``torchrun`` started share a training, and the first Ctrl-C lets it
    return as if it had ended: an experiment would take a half-trained model for a result.

    >>> with isolated():
    ...     is_isolated()
    True
    >>> is_isolated()
    False
    """
    token = _ISOLATED.set(True)
    try:
        yield
    finally:
        _ISOLATED.reset(token)


def is_isolated() -> bool:
    """Whether the context is that of ``isolated``."""
    return _ISOLATED.get()
