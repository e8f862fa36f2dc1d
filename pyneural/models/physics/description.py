"""What a resumed training of a PINN must share with the one that wrote the checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from pyneural.pde import Equation


def digest(tensors: Iterable[Tensor]) -> str:
    """The first digits of the SHA-256 sum of points and values."""
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()[:16]


def describe(equation: Equation) -> str:
    """The name of an equation and its constants."""
    numbers = [f"{name}={v!r}" for name, v in vars(equation).items() if isinstance(v, float)]
    return f"{type(equation).__name__}({', '.join(numbers)})"
