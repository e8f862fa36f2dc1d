"""How a layer stands for torch's of the same name."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from pyneural.errors import ArgumentError
from pyneural.nn.stored import register


class _DropInMeta(ABCMeta):
    """``isinstance(x, nn.Linear)`` is true of every ``torch.nn.Linear``; see ``DropIn``."""

    def __instancecheck__(cls, instance: object) -> bool:
        twin = cls.__dict__.get("_twin")
        return type.__instancecheck__(cls, instance) if twin is None else isinstance(instance, twin)

    def __subclasscheck__(cls, subclass: type) -> bool:
        twin = cls.__dict__.get("_twin")
        return type.__subclasscheck__(cls, subclass) if twin is None else issubclass(subclass, twin)


class Scriptable(torch.nn.Module):
    """Base of the layers that ``torch.jit.script`` takes as torch's functions.

    It takes the layer's ``as_torch()``, and leaves it in the model, with the same parameters. A
    user's subclass that has a ``forward`` of its own is taken as it is written.
    """

    def as_torch(self) -> Any:
        """A layer with the same parameters, submodules and hooks, made of torch's functions."""
        raise NotImplementedError(f"{type(self).__name__}.as_torch: implement it")

    def __prepare_scriptable__(self) -> torch.nn.Module:
        own = type(self).forward.__module__.startswith("pyneural.nn.")
        return self.as_torch() if own else self


class DropIn(Scriptable, metaclass=_DropInMeta):
    """Base of the layers that replace one of torch's, which they name as ``_twin``.

    They derive from it, so that ``isinstance(ours, torch.nn.Linear)`` holds. The metaclass adds the
    other direction: ``isinstance(x, nn.Linear)`` asks whether x is a ``torch.nn.Linear``, also one
    of another library, one that is still lazy or attention's ``out_proj``. So a program that finds
    its layers by ``isinstance`` finds the same ones with ``nn`` as with ``torch.nn``; likewise
    ``issubclass``. A user's subclass answers for itself, and ``type(x) is nn.Linear`` is true of
    ours alone. The metaclass is one of abstract classes, from which a layer may derive as well.

    Where a program is written down to run elsewhere, the layer is torch's: to ``torch.jit.script``,
    see ``Scriptable``; to ``torch.fx`` it is one node, as a layer of ``torch.nn`` is; and see
    ``pyneural.ops.transforms.is_torchs``.

    >>> from pyneural import nn
    >>> attention = nn.MultiheadAttention(4, 2)
    >>> [name for name, m in attention.named_modules() if isinstance(m, nn.Linear)]
    ['out_proj']
    """

    _twin: type[torch.nn.Module]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "_twin" in cls.__dict__:  # no subclass of a user
            register(cls)

    def as_torch(self) -> Any:
        """A layer of torch's class with the same parameters, submodules and hooks."""
        return make_twin(self, self._twin)


def make_twin(layer: torch.nn.Module, cls: type[torch.nn.Module]) -> Any:
    """An instance of a class with the attributes of a layer, whose parameters the two share."""
    twin = cls.__new__(cls)
    twin.__dict__.update(layer.__dict__)
    twin.__dict__["_modules"] = dict(layer._modules)
    return twin


def call_without_tensors(layer: torch.nn.Module, *inputs: Any) -> Any:
    """What a layer returns that is called with no tensor: while ``torch.fx`` traces, one node.

    Raises:
        ArgumentError: otherwise.
    """
    proxies = [x for x in tree_leaves(inputs) if isinstance(x, torch.fx.Proxy)]
    if not proxies:
        raise ArgumentError(
            f"{type(layer).__name__}: input: expected a tensor, got {_described(inputs[0])}; "
            "convert it with torch.as_tensor"
        )
    tracer = proxies[0].tracer
    if layer is getattr(tracer, "root", None) and isinstance(layer, DropIn):
        return layer.as_torch().forward(*inputs)
    path = tracer.path_of_module(layer)  # type: ignore[attr-defined]
    return tracer.create_proxy("call_module", path, inputs, {})


def _described(value: Any) -> str:
    if isinstance(value, tuple | list) and value and all(isinstance(x, Tensor) for x in value):
        return f"a {type(value).__name__} of {len(value)} tensors"
    return "None" if value is None else f"a {type(value).__name__}"
