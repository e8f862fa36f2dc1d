"""What a tensor was computed from."""

from __future__ import annotations

from typing import Any

from torch import Tensor

_TRACKED = "_pyneural_tracked"


def tracked(value: Tensor) -> Tensor:
    """A tensor as a variable to differentiate by, which is no unknown: not one of ``leaves``.

    >>> import torch
    >>> x = tracked(torch.ones(2))
    >>> x.requires_grad, leaves(x**2)
    (True, [])
    """
    found = value.detach().requires_grad_()
    setattr(found, _TRACKED, True)
    return found


def leaves(value: Tensor) -> list[Tensor]:
    """Tensors that require a gradient and that a value was computed from, each once.

    Those by ``tracked`` are left out.

    >>> import torch
    >>> c = torch.tensor(2.0, requires_grad=True)
    >>> leaves(c * torch.ones(3) + c**2) == [c]
    True
    """
    if value.grad_fn is None:
        return [value] if value.requires_grad and not hasattr(value, _TRACKED) else []
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
    return [leaf for leaf in found.values() if not hasattr(leaf, _TRACKED)]
