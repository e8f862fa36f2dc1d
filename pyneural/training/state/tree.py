"""Nested states of models and optimisers as tensors by name and a rest that JSON can hold."""

from __future__ import annotations

from typing import Any

from torch import Tensor

_TENSOR = "tensor:"
_PAIRS = "pairs:"  # JSON would turn keys that are numbers into text


def split(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """Takes the tensors out of nested dicts and lists; ``join`` puts them in again.

    >>> import torch
    >>> rest, tensors = split({"w": torch.ones(2), "steps": [1, torch.zeros(1)]})
    >>> rest
    {'w': 'tensor:w', 'steps': [1, 'tensor:steps/1']}
    >>> join(rest, tensors)["steps"]
    [1, tensor([0.])]
    """
    tensors: dict[str, Tensor] = {}

    def walk(node: Any, path: str) -> Any:
        if isinstance(node, Tensor):
            tensors[path] = node
            return _TENSOR + path
        prefix = f"{path}/" if path else ""
        if isinstance(node, dict):
            walked = [(key, walk(value, f"{prefix}{key}")) for key, value in node.items()]
            if all(isinstance(key, str) for key in node):
                return dict(walked)
            return {_PAIRS: [list(pair) for pair in walked]}
        if isinstance(node, (list, tuple)):
            return [walk(value, f"{prefix}{i}") for i, value in enumerate(node)]
        return node

    return walk(tree, ""), tensors


def join(rest: Any, tensors: dict[str, Tensor]) -> Any:
    """The nested state that ``split`` took apart."""
    if isinstance(rest, str) and rest.startswith(_TENSOR):
        return tensors[rest.removeprefix(_TENSOR)]
    if isinstance(rest, dict):
        if rest.keys() == {_PAIRS}:
            return {key: join(value, tensors) for key, value in rest[_PAIRS]}
        return {key: join(value, tensors) for key, value in rest.items()}
    if isinstance(rest, list):
        return [join(value, tensors) for value in rest]
    return rest
