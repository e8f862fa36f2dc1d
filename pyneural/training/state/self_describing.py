"""Models that are made from a file: what their constructors were given."""

from __future__ import annotations

from typing import Any

from typing_extensions import Self

from pyneural.training.state import file as files


class SelfDescribing:
    """Lets ``load_model`` make a model from the arguments that its ``get_config`` gives.

    Of these a module stands there as ``files.describe`` has it.
    """

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor in JSON's types; ValueError where there is no such text."""
        raise NotImplementedError(f"{type(self).__name__}: expected get_config, got none; write it")

    def architecture(self) -> dict[str, Any] | None:
        """What ``load_model`` makes it from; None where a part cannot be described."""
        try:
            return files.describe(self)  # type: ignore[arg-type]
        except ValueError:
            return None

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The model of ``get_config``, with new weights."""
        made: dict[str, Any] = {
            name: files.rebuild(value) if isinstance(value, dict) else value
            for name, value in config.items()
        }
        return cls(**made)
