"""The error of an argument that does not fit."""

from __future__ import annotations

from numbers import Integral, Real

from torch import Tensor


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


def check_argument(
    good: bool, where: str, expected: str, got: object, remedy: str = "correct it"
) -> None:
    """ArgumentError unless it is good; ``where`` names function and argument, as "odeint: t".

    >>> check_argument(2 > 3, "odeint: t", "increasing times", [3, 2], "sort them")
    Traceback (most recent call last):
    pyneural.errors.ArgumentError: odeint: t: expected increasing times, got [3, 2]; sort them
    """
    if not good:
        raise ArgumentError(f"{where}: expected {expected}, got {got}; {remedy}")


def check_tensor(where: str, value: object) -> None:
    """ArgumentError unless the value is a tensor.

    >>> check_tensor("Box: points", [[0.5]])
    Traceback (most recent call last):
    pyneural.errors.ArgumentError: Box: points: expected a tensor, got list; \
convert it with torch.as_tensor
    """
    good, got = isinstance(value, Tensor), type(value).__name__
    check_argument(good, where, "a tensor", got, "convert it with torch.as_tensor")


def is_whole(value: object) -> bool:
    """Whether it is a whole number, of Python or NumPy, and no truth value.

    >>> is_whole(3), is_whole(True), is_whole(3.0)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def whole(where: str, value: object) -> int:
    """The value as Python's int; ArgumentError unless it is a whole number.

    >>> whole("reversal: count", 2.5)
    Traceback (most recent call last):
    pyneural.errors.ArgumentError: reversal: count: expected a whole number, got 2.5; write int(...)
    """
    if not is_whole(value):
        number = isinstance(value, Real) and not isinstance(value, Integral)
        remedy = "write int(...)" if number else "write a whole number such as 3"
        raise ArgumentError(f"{where}: expected a whole number, got {value!r}; {remedy}")
    return int(value)  # type: ignore[call-overload]


def wholes(kind: str, **values: object) -> list[int]:
    """Several arguments of a function or class, in their order.

    >>> wholes("MLP", in_features=2, out_features=1)
    [2, 1]
    """
    return [whole(f"{kind}: {name}", value) for name, value in values.items()]
