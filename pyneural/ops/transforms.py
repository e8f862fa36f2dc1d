"""Whether a transformation is at work that C++ Functions do not let through."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad


def is_transformed() -> bool:
    """Whether ``torch.func`` or forward mode is at work: an op then takes its plain-torch form.

    >>> is_transformed(), torch.func.vmap(lambda x: x + is_transformed())(torch.zeros(2)).tolist()
    (False, [1.0, 1.0])
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
