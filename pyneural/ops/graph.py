"""What a tensor was computed from."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def leaves(value: Tensor) -> list[Tensor]:
    """Tensors that require a gradient and that a value was computed from, each once.

    >>> import torch
    >>> c = torch.tensor(2.0, requires_grad=True)
    >>> leaves(c * torch.ones(3) + c**2) == [c]
    True
    """
    if value.grad_fn is None:
        return [value] if value.requires_grad else []
    found: dict[int, Tensor] = {}
    seen, waiting = set(), [value.grad_fn]
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        waiting += [below for below, _ in node.next_functions]
    return list(found.values())
