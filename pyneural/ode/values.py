"""The numbers in a tensor, also where ``torch.func`` is at work."""

from __future__ import annotations

from torch import Tensor
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor


def values_of(t: Tensor) -> Tensor:
    """The tensor with what ``vmap`` hides as further dimensions, and without a gradient.

    >>> import torch
    >>> found = []
    >>> _ = torch.func.vmap(lambda x: found.append(values_of(x.sum())) or x)(torch.eye(3))
    >>> found[0]
    tensor([1., 1., 1.])
    """
    while is_functorch_wrapped_tensor(t):
        t = get_unwrapped(t)
    return t.detach()
