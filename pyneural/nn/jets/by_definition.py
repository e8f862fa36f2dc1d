"""Functions of torch whose higher derivatives are wrong, by their definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrizations
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from pyneural.nn.jets.composite import layer_norm


class ByDefinition(TorchFunctionMode):
    """Layer norm, of which torch's third derivatives are wrong, and weight norm: the second.

    >>> v, g = torch.tensor([[3.0, 4.0]]), torch.tensor([[10.0]])
    >>> with ByDefinition():
    ...     torch._weight_norm(v, g)
    tensor([[6., 8.]])
    """

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in (torch.layer_norm, torch.nn.functional.layer_norm):
            return layer_norm(*args, **{k: v for k, v in kwargs.items() if k != "cudnn_enable"})
        if function is torch._weight_norm:
            return _weight_norm(*args, **kwargs)
        return function(*args, **kwargs)


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    others = (
        [d for d in range(v.dim()) if d != dim % v.dim()] if dim != -1 else list(range(v.dim()))
    )
    return v * (g / v.square().sum(others, keepdim=True).sqrt())


def has_wrong_derivatives(module: torch.nn.Module) -> bool:
    """Whether a module uses one of these functions by a layer of torch.

    >>> has_wrong_derivatives(torch.nn.Sequential(torch.nn.Tanh(), torch.nn.LayerNorm(2)))
    True
    """
    kinds = torch.nn.LayerNorm, parametrizations._WeightNorm
    return any(
        isinstance(part, kinds)
        or any(isinstance(hook, WeightNorm) for hook in part._forward_pre_hooks.values())
        for part in module.modules()
    )
