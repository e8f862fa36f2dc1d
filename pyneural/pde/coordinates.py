"""Names of coordinates, and functions whose arguments are coordinates, matched by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyneural.errors import ArgumentError, check_argument

TIME = "t"  # the coordinate of this name is the time
# What torch says where several values are taken for one number.
_ONE_NUMBER = "only one element tensors can be converted", "Boolean value of Tensor"
_OF_NUMPY = "Can't call numpy() on Tensor that requires grad"  # and of functions of NumPy


def check_names(where: str, names: Sequence[str], got: Sequence[str], owner: str) -> None:
    """ValueError unless names of columns are those of another part, in the same order.

    >>> check_names("PINN: equation", ("t", "x"), ("x", "t"), "the domain")
    Traceback (most recent call last):
    ValueError: PINN: equation: expected the inputs t, x, as the domain has, got x, t; \
give both the same names in the same order
    """
    if tuple(got) != tuple(names):
        raise ValueError(
            f"{where}: expected the inputs {', '.join(names)}, as {owner} has, got "
            f"{', '.join(got)}; give both the same names in the same order"
        )


def columns_by_name(where: str, x: Any, names: Sequence[str]) -> Any:
    """The coordinates of a frame in the order of their names; anything else as it is.

    ValueError for a frame that lacks one.
    """
    columns = list(getattr(x, "columns", ()))
    if not columns or not all(isinstance(column, str) for column in columns):
        return x
    remedy = "name its columns as the domain's coordinates, or give x.to_numpy()"
    good, expected = set(names) <= set(columns), f"the columns {', '.join(names)}"
    check_argument(good, where, expected, ", ".join(columns), remedy)
    return x[list(names)]


def given_points(where: str, points: Any, names: Sequence[str] | None = None) -> Any:
    """Points as a tensor where they are an array, a frame or lists; a number of them as it is.

    Args:
        where: the name that an error begins with.
        points: an array keeps its dtype, and so does a tensor.
        names: of the columns, in whose order those of a frame are taken.

    Raises:
        ArgumentError: what holds no numbers, or a frame whose columns nothing orders.

    >>> given_points("Data: points", np.array([[0.0, 1.0]])), given_points("Data: points", 5)
    (tensor([[0., 1.]], dtype=torch.float64), 5)
    """
    if points is None or isinstance(points, Tensor) or np.isscalar(points):
        return points
    if names is not None:
        points = columns_by_name(where, points, names)
    elif hasattr(points, "columns"):
        remedy = "give domain=, or x.to_numpy()"
        check_argument(False, where, "a domain that orders the columns of a frame", "none", remedy)
    try:
        array = np.asarray(points)
        return torch.as_tensor(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError) as error:
        kind = type(points).__name__
        raise ArgumentError(
            f"{where}: expected a tensor or an array [N, D] of numbers, got {kind}; convert it"
        ) from error


def with_rest(
    signature: Mapping[str, inspect.Parameter], arguments: Sequence[str], names: Sequence[str]
) -> list[str]:
    """The arguments of a function, ``**x`` replaced by all names that are no arguments.

    >>> function = lambda t, **x: t
    >>> with_rest(inspect.signature(function).parameters, ["t", "x"], ["t", "x1", "x2"])
    ['t', 'x1', 'x2']
    """
    rest = [name for name, p in signature.items() if p.kind is p.VAR_KEYWORD]
    named = [name for name in arguments if name not in rest]
    return named + [name for name in names if name not in named] if rest else named


def arguments_of(
    function: Callable[..., object], names: Sequence[str], others: Sequence[str] = ()
) -> tuple[str, ...]:
    """Names of the arguments of a residual that it is given.

    ``**x`` is replaced by all names of coordinates that are no arguments. Arguments with a default
    (``lambda u, h=2.0: u.n + h * u``) keep it, unless they have the name of something known.

    Args:
        function: the residual.
        names: of the coordinates.
        others: further names that are known.

    >>> arguments_of(lambda u, t, h=2.0, **x: u, ("t", "x1", "x2"))
    ('u', 't', 'x1', 'x2')
    """
    signature = inspect.signature(function).parameters
    known = {*names, *others}
    given = [name for name, p in signature.items() if name in known or p.default is p.empty]
    return tuple(with_rest(signature, given, names))


def call_with_coordinates(
    function: Callable[..., Tensor | float], names: Sequence[str], x: Tensor, where: str
) -> Tensor:
    """function(coordinates that its arguments name, [N] each), as a tensor [N] or [N, O].

    Args:
        function: its arguments, or those of its ``forward``, are some of the names, in any order;
            others have defaults. ``**x`` takes all that are not named.
        names: names of the columns of x.
        x: points, [N, D].
        where: the name that an error begins with.

    Raises:
        ValueError: an argument that is no coordinate, a result that is not [N] or [N, O], or a
            function of NumPy where x requires a gradient.

    >>> x = torch.tensor([[0.0, 2.0], [1.0, 3.0]])
    >>> call_with_coordinates(lambda y: y**2, ("x", "y"), x, "example").tolist()
    [4.0, 9.0]
    """
    good, name = not isinstance(function, np.ufunc), getattr(function, "__name__", "sin")
    expected, got = "a function of torch of coordinates by name", f"numpy.{name}"
    check_argument(good, f"{where}: function", expected, got, f"write lambda x: torch.{name}(x)")
    arguments = arguments_of(getattr(function, "forward", function), names)
    for argument in arguments:
        if argument not in names:
            known = f"one of the coordinates {', '.join(names)}"
            remedy = "rename it" if names else "give domain="
            raise ValueError(
                f"{where}: argument {argument!r} of the function: expected "
                f"{known if names else 'none without a domain'}, got another name; {remedy}"
            )
    given = {argument: x[:, names.index(argument)] for argument in arguments}
    try:
        value = function(**given)
    except (RuntimeError, ValueError) as error:
        if _OF_NUMPY in str(error):
            raise ArgumentError(
                f"{where}: function: expected functions of torch, which have derivatives, got one "
                "of numpy; write torch.sin(x) for numpy.sin(x)"
            ) from error
        if not any(text in str(error) for text in _ONE_NUMBER):
            raise
        raise ArgumentError(
            f"{where}: function: expected one of all points at once, got one that takes them for "
            f"one number ({error}); write torch.sin(x) for math.sin(x), torch.where(x > 0, a, b) "
            "for a decision"
        ) from error
    if not isinstance(value, Tensor) or value.dtype != x.dtype or value.device != x.device:
        value = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    if value.dim() == 0:
        value = value.expand(len(x))
    if value.dim() > 2 or len(value) != len(x):
        raise ValueError(
            f"{where}: result of the function: expected [{len(x)}] or [{len(x)}, O], one row per "
            f"point, got {list(value.shape)}; apply it to each coordinate elementwise"
        )
    return value
