"""The arguments of a flow's constructor in JSON's types, which ``load_model`` makes it from."""

from __future__ import annotations

import inspect
import json
from functools import wraps
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.distributions.transforms import Transform

from pyneural.training.state.file import class_name, class_of


def keep_arguments(kind: Any) -> None:
    """Has the constructor of a class, if it has one of its own, keep what it is given.

    As ``_arguments``, by name and in JSON's types; None where these are not enough, as of a
    function.
    """
    constructor = vars(kind).get("__init__")
    if constructor is None:
        return
    signature = inspect.signature(constructor)

    @wraps(constructor)
    def keeping(self: Any, *args: Any, **kwargs: Any) -> None:
        is_outermost = "_arguments" not in vars(self)  # and not called by that of a subclass
        vars(self).setdefault("_arguments", None)
        constructor(self, *args, **kwargs)
        if is_outermost:
            vars(self)["_arguments"] = _by_name(signature.bind(self, *args, **kwargs))

    kind.__init__ = keeping


def _by_name(bound: inspect.BoundArguments) -> dict[str, Any] | None:
    arguments = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind == parameter.VAR_KEYWORD:
            arguments |= arguments.pop(name, {})
    del arguments["self"]
    try:
        return json.loads(json.dumps(arguments, default=_plain))
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    """A class by its name, arrays as lists."""
    if isinstance(value, type):
        return {"class": class_name(value)}
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{value!r} in JSON")


def made(value: Any) -> Any:
    """The argument of a value in JSON's types.

    >>> made([64, 64]), made({"class": "torch.nn.modules.activation.Tanh"})
    ([64, 64], <class 'torch.nn.modules.activation.Tanh'>)
    """
    return class_of(value["class"], (nn.Module, Transform)) if isinstance(value, dict) else value
