"""States of objects by their attributes, and as tensors by name with a rest that JSON can hold."""

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from pyneural.training.state.optimizer import load_optimizer

_TENSOR = "tensor:"
_PAIRS = "pairs:"  # JSON would turn keys that are numbers into text


class Stateful:
    """Saves and loads the attributes that ``state_attributes`` names.

    Of an attribute that has a state itself, or of a list of these, that state is saved and loaded.

    >>> class Counter(Stateful):
    ...     state_attributes = ("count",)
    ...     count = 3
    >>> Counter().state_dict()
    {'count': 3}
    """

    state_attributes: tuple[str, ...] = ()

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on, in tensors and JSON's types."""
        return {name: _state_of(getattr(self, name)) for name in self.state_attributes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        for name in self.state_attributes:
            setattr(self, name, _with_state(getattr(self, name), state[name]))


def _state_of(value: Any) -> Any:
    if isinstance(value, list):
        return [_state_of(element) for element in value]
    return value.state_dict() if hasattr(value, "state_dict") else value


def _with_state(value: Any, state: Any) -> Any:
    if isinstance(value, list) and any(hasattr(element, "state_dict") for element in value):
        return [_with_state(*pair) for pair in zip(value, state, strict=True)]
    if not hasattr(value, "state_dict"):
        return state
    if isinstance(value, Optimizer):
        load_optimizer(value, state)
    else:
        value.load_state_dict(state)
    return value


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
            walked = {key: walk(value, f"{prefix}{key}") for key, value in node.items()}
            plain = all(isinstance(key, str) for key in node)
            return walked if plain else {_PAIRS: [list(pair) for pair in walked.items()]}
        if isinstance(node, (list, tuple)):
            return [walk(value, f"{prefix}{i}") for i, value in enumerate(node)]
        return node

    return walk(tree, ""), tensors


def join(rest: Any, tensors: dict[str, Tensor]) -> Any:
    """The nested state that ``split`` took apart."""
    if isinstance(rest, str) and rest.startswith(_TENSOR):
        return tensors[rest.removeprefix(_TENSOR)]
    if isinstance(rest, dict):
        pairs = rest[_PAIRS] if rest.keys() == {_PAIRS} else rest.items()
        return {key: join(value, tensors) for key, value in pairs}
    return [join(value, tensors) for value in rest] if isinstance(rest, list) else rest
