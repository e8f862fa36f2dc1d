"""The error of an argument that does not fit."""

from __future__ import annotations


class ArgumentError(ValueError, RuntimeError):
    """An argument of a wrong shape, dtype or device, or one that does not exist.

    It is a ``ValueError``, as in Python, and a ``RuntimeError``, which torch raises for the same:
    code that was written for torch catches it.

    >>> from pyneural import nn
    >>> import torch
    >>> try:
    ...     nn.Linear(3, 4)(torch.ones(2, 5))
    ... except RuntimeError as error:
    ...     print(str(error).partition(";")[0])
    Linear: input: expected [..., 3], got [2, 5]
    """


def as_argument_error(error: Exception) -> Exception:
    """The error of a kernel's check as an ``ArgumentError``; another error itself."""
    return ArgumentError(str(error)) if type(error) is ValueError else error
