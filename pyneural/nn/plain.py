"""Whether a layer is plain: its weights say all that it does, so that a kernel may do it."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from pyneural.nn.linear import Linear

LINEAR = Linear, torch.nn.Linear, NonDynamicallyQuantizableLinear


def is_plain_linear(layer: torch.nn.Module | None) -> TypeGuard[torch.nn.Linear]:
    """Whether calling a layer is f(x W^T + b) of its weights and nothing else.

    It is not so for a subclass, which a parametrisation makes as well, where the layer has hooks
    (as of ``weight_norm``), or a ``forward`` of its own; nor while there are hooks for all modules.
    ``Sequential``, ``MLP``, attention and the transformer's layers compute a plain layer together
    with what stands around it. They call any other as what it is.

    >>> layer = Linear(2, 3)
    >>> is_plain_linear(layer), is_plain_linear(torch.nn.utils.weight_norm(layer))
    (True, False)
    """
    return layer is not None and type(layer) in LINEAR and has_only_its_forward(layer)


def is_plain_affine(layer: torch.nn.Module | None) -> TypeGuard[torch.nn.Linear]:
    """Whether it is a plain linear layer with a bias, which the ops of whole networks ask for.

    >>> is_plain_affine(torch.nn.Linear(2, 3)), is_plain_affine(torch.nn.Linear(2, 3, bias=False))
    (True, False)
    """
    return is_plain_linear(layer) and layer.bias is not None


def has_only_its_forward(layer: torch.nn.Module) -> bool:
    """Whether a call runs the ``forward`` of the layer's class alone."""
    return not (is_changed(layer) or has_global_hooks())


def has_global_hooks() -> bool:
    """Whether there are hooks that run with every layer."""
    return torch.nn.modules.module._has_any_global_hook()


def is_changed(layer: torch.nn.Module) -> bool:
    """Whether a layer has hooks, or a ``forward`` that is not its class's."""
    own = layer.__dict__
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
    )


def activation_of(layer: torch.nn.Linear) -> str:
    """The activation of a plain layer: "linear" for torch's own."""
    return layer.activation if type(layer) is Linear else "linear"
