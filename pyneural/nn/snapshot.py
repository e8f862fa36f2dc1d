"""Whether modules still are what they were when somebody looked at them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from pyneural.nn.plain import has_global_hooks
from pyneural.ops.calls import hold

_HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
_PARTS = "_parameters", "_buffers", "_modules", *_HOOKS


class Snapshot:
    """Classes, attributes, parameters, buffers, parts and hooks of modules, by which a call goes.

    To ask whether they are the same takes a fraction of the time of finding out what a network
    is. It notices what is set, replaced, moved, loaded or hooked, and what is written into buffers;
    not the values of parameters, what is written into ``buffer.data``, what lists hold that are
    attributes, nor what becomes of the classes.

    Args:
        modules: those to look at. No buffer is made in inference mode.
        dictionaries: further ones whose values are looked at.

    >>> layer = torch.nn.Linear(2, 3)
    >>> snapshot = Snapshot([layer])
    >>> snapshot.holds()
    True
    >>> layer.bias = None
    >>> snapshot.holds()
    False
    """

    def __init__(
        self, modules: Iterable[torch.nn.Module], dictionaries: Iterable[dict[str, Any]] = ()
    ) -> None:
        modules = list(modules)
        attributes = [module.__dict__ for module in modules]
        parts = [own[name] for own in attributes for name in _PARTS]
        self._modules, self._kinds = modules, [*map(type, modules)]
        self._dictionaries = (*dictionaries, *attributes, *parts)
        self._values = tuple(tuple(each.values()) for each in self._dictionaries)
        buffers = [b for own in attributes for b in own["_buffers"].values() if b is not None]
        self._buffers = [(each, each.data_ptr(), each._version) for each in buffers]

    def holds(self) -> bool:
        """Whether all is as it was, and there are no hooks for all modules."""
        if has_global_hooks() or [*map(type, self._modules)] != self._kinds:
            return False
        if not hold(self._dictionaries, self._values):
            return False
        return all(b.data_ptr() == at and b._version == version for b, at, version in self._buffers)
