"""One tensor or several of them, in a tuple or by name in a dict."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only


def each(function: Callable[[Any], Any], value: Any) -> Any:
    """A function of each of several values, or of one.

    >>> each(len, {"a": [1, 2], "b": ([3], [4, 5, 6])})
    {'a': 2, 'b': (1, 3)}
    """
    if isinstance(value, dict):
        return {name: each(function, part) for name, part in value.items()}
    parts = type(value) is tuple
    return tuple(each(function, part) for part in value) if parts else function(value)


def leaves(value: Any) -> Iterator[Any]:
    """The values, one after the other."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if type(value) is tuple:
        for part in value:
            yield from leaves(part)
    else:
        yield value


def first(value: Any) -> Any:
    """The first of several values."""
    return next(leaves(value), None)


def several(value: Any) -> bool:
    """Whether it is a dict, or a tuple of arrays and not of the numbers of one."""
    if isinstance(value, dict):
        return True
    parts = type(value) is tuple and bool(value)
    return parts and all(hasattr(part, "shape") or several(part) for part in value)


def detached(value: Any) -> Any:
    """Tensors without graphs, those in lists and named tuples, too."""
    is_one = isinstance(value, Tensor)
    return value.detach() if is_one else tree_map_only(Tensor, Tensor.detach, value)


def call(model: nn.Module, x: Any) -> Any:
    """A model of its inputs: those of a tuple in their order, those of a dict by name."""
    if isinstance(x, Tensor):
        return model(x)
    return model(**x) if isinstance(x, dict) else model(*x)


def joined(parts: list[Any]) -> Any:
    """Outputs of batches, one behind the other.

    >>> joined([(torch.zeros(2), torch.ones(2, 3)), (torch.zeros(1), torch.ones(1, 3))])[1].shape
    torch.Size([3, 3])
    """
    one = parts[0]
    if isinstance(one, dict):
        return {name: joined([part[name] for part in parts]) for name in one}
    if isinstance(one, (tuple, list)):
        return tuple(joined(list(column)) for column in zip(*parts, strict=True))
    return torch.cat(parts)
