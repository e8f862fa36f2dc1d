"""What a resumed training of a PINN must share with the one that wrote the checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

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


def describe_training(pinn: Any, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Network, conditions, weights, equation and points of a PINN, in JSON's types."""
    description: dict[str, Any] = {
        "network": str(pinn.network),
        "dtype": str(pinn.dtype),
        "conditions": {
            name: " ".join(
                filter(
                    None, (type(part).__name__, digest(part.buffers()), _short(part.described()))
                )
            )
            for name, part in pinn.named_conditions()
        },
        "weights": weights,
        "adaptive": pinn.adaptive,
    }
    if pinn.equation is None:
        return description
    points: dict[str, Any] = {"points": len(pinn.collocation), "sampling": pinn.sampling}
    if pinn.source.candidates is not None:
        points["candidates"] = digest([pinn.source.candidates])
    residual = _short(pinn.equation.described())
    return description | {"equation": describe(pinn.equation), "residual": residual} | points


def _short(text: str) -> str:
    """A text, or the first digits of the SHA-256 sum of a long one."""
    return text if len(text) < 40 else hashlib.sha256(text.encode()).hexdigest()[:16]
