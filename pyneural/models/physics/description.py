"""What a resumed training of a PINN must share with the one that wrote the checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from pyneural.pde import Equation

_SHOWN = 8  # numbers of a tensor that are shown, of larger ones the digest


def digest(tensors: Iterable[Tensor]) -> str:
    """The first digits of the SHA-256 sum of points and values."""
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()[:16]


def describe(equation: Equation) -> str:
    """The name of an equation and the constants that it does not learn."""
    numbers = []
    for name, value in vars(equation).items():
        if name == "training" or name.startswith("_"):
            continue
        if isinstance(value, Tensor):
            value = value.tolist() if value.numel() <= _SHOWN else digest([value])
        elif not isinstance(value, (int, float)):
            continue
        numbers.append(f"{name}={value!r}")
    return f"{type(equation).__name__}({', '.join(numbers)})"


def describe_training(pinn: Any, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Network, domain, conditions, weights, equation and points of a PINN, in JSON's types."""
    description: dict[str, Any] = {
        "network": str(pinn.network),
        "dtype": str(pinn.dtype),
        "domain": f"{pinn.domain} {digest(pinn.domain.numbers())}",
        "conditions": {
            name: f"{type(part).__name__} {part.recorded()} {digest(part.buffers())}"
            for name, part in pinn.named_conditions()
        },
        "weights": weights,
        "adaptive": pinn.adaptive,
    }
    if pinn.equation is None:
        return description
    points: dict[str, Any] = {"points": pinn.first_count, "sampling": pinn.sampling}
    if pinn.source.candidates is not None:
        points["candidates"] = digest([pinn.source.candidates])
    if pinn.causal is not None:
        points["causal"] = str(pinn.causal)
    residual = pinn.equation.recorded(pinn.collocation)
    return description | {"equation": describe(pinn.equation), "residual": residual} | points
