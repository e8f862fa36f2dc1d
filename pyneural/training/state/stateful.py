"""Objects whose state is that of some of their attributes."""

from __future__ import annotations

from typing import Any


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
    value.load_state_dict(state)
    return value
