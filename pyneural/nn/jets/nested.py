"""Derivatives by nested autograd, for what has no rule."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pyneural.errors import ArgumentError
from pyneural.nn.jets.by_definition import ByDefinition
from pyneural.nn.jets.space import Space
from pyneural.ops.jet.derivatives import Derivative, partials_of

_by_nesting: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def needs_nesting(module: Any) -> bool:
    """Whether the module is known to have an operation without a rule."""
    try:
        return module in _by_nesting
    except TypeError:  # no weak references, or no hash
        return False


def nested_jet(space: Space, module: Callable[[Tensor], Tensor], operation: str) -> list[Tensor]:
    """The value and the derivatives, [N, O] each, with one reverse pass an order and output.

    Args:
        space: points and derivatives.
        module: a function of each point alone.
        operation: that has no rule, for the warning at the first time.

    Raises:
        ArgumentError: a module that mixes points.
    """
    is_first = not needs_nesting(module)
    if is_first:
        _warn(space, module, operation)
    # Of the ways to attention only this one has second derivatives.
    with torch.enable_grad(), ByDefinition(), sdpa_kernel(SDPBackend.MATH):
        x = space.x if space.x.requires_grad else space.x.detach().requires_grad_()
        value = module(x)
        check_result(space, value)
        if is_first and len(x) > 1:
            _check_points_apart(space, value, x)
        found: dict[Derivative, Tensor] = {(): value}
        slopes: dict[Derivative, Tensor] = {}

        def derivative(index: tuple[int, ...]) -> Tensor:
            if index not in found:
                lower = index[:-1]
                if lower not in slopes:
                    slopes[lower] = _slopes(derivative(lower), x)
                found[index] = slopes[lower][..., index[-1]]
            return found[index]

        result = [value]
        for asked in space.derivatives:
            parts = [c * derivative(indices) for indices, c in partials_of(asked)]
            result.append(torch.stack(parts).sum(0) if len(parts) > 1 else parts[0])
    if space.keeps_graph and (space.x.requires_grad or _is_learned(module)):
        return result
    return [part.detach() for part in result]


def check_result(space: Space, value: Any) -> None:
    """ArgumentError unless it is [N, O]."""
    if not isinstance(value, Tensor) or value.dim() != 2 or len(value) != space.count:
        got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ArgumentError(
            f"{space.where}: result of the module: expected [{space.count}, O], one row a point, "
            f"got {got}; let it return a column for each output"
        )


def _is_learned(module: Any) -> bool:
    return not isinstance(module, torch.nn.Module) or any(
        p.requires_grad for p in module.parameters()
    )


def _slopes(values: Tensor, x: Tensor) -> Tensor:
    """Gradient of every column of values [N, O], a function of each row of x alone, [N, O, D]."""
    columns = [
        torch.autograd.grad(column.sum(), x, create_graph=True, materialize_grads=True)[0]
        if column.requires_grad
        else torch.zeros_like(x)
        for column in values.unbind(1)
    ]
    return torch.stack(columns, 1)


def _check_points_apart(space: Space, value: Tensor, x: Tensor) -> None:
    if value.requires_grad:
        (slope,) = torch.autograd.grad(value[0].sum(), x, retain_graph=True, materialize_grads=True)
        if bool(slope[1:].any()):
            raise space.mixes("the module")


def _warn(space: Space, module: Any, operation: str) -> None:
    name = type(module).__name__ if isinstance(module, torch.nn.Module) else "the function"
    warnings.warn(
        f"{space.where}: {operation} in {name} has no rule for derivatives, so they are found by "
        "nested autograd, which takes several times as long; write it with other torch functions, "
        "or give the derivatives of an own activation to nn.Activation",
        stacklevel=6,
    )
    try:
        _by_nesting[module] = operation
    except TypeError:
        return
