"""Whether a transformation is at work that Functions in C++ do not let through."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad


def by_torch_func() -> bool:
    """Whether a transformation of ``torch.func`` is at work.

    >>> by_torch_func(), torch.func.vmap(lambda x: x + by_torch_func())(torch.zeros(2)).tolist()
    (False, [1.0, 1.0])
    """
    return torch._C._are_functorch_transforms_active()


def by_forward_mode() -> bool:
    """Whether forward-mode differentiation is at work.

    >>> with forward_ad.dual_level():
    ...     by_forward_mode()
    True
    """
    return forward_ad._current_level >= 0


def is_transformed() -> bool:
    """Whether either is: an op then takes its plain-torch form.

    >>> is_transformed()
    False
    """
    return by_torch_func() or by_forward_mode()
