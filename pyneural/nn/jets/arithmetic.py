"""Rules of arithmetic: sums, products, quotients, powers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from pyneural.nn.jets.algebra import product_channel, quotient_channel
from pyneural.nn.jets.elementwise import composed, exponential, powers, powers_of_each
from pyneural.nn.jets.jet import Jet, channels_of, common_place, rule, shape_of
from pyneural.nn.jets.space import NoRule
from pyneural.ops.jet.derivatives import Derivative


@rule("neg")
def _negative(input: Any) -> Any:
    value, channels = input.parts()
    return Jet(input.space, -value, {c: -t for c, t in channels.items()}, input.at)


@rule("add")
def _add(a: Any, b: Any, *, alpha: float = 1) -> Any:
    return sum_of(a, b, 1, alpha)


@rule("sub")
def _subtract(a: Any, b: Any, *, alpha: float = 1) -> Any:
    return sum_of(a, b, 1, -alpha)


@rule("rsub")
def _subtract_from(a: Any, b: Any, *, alpha: float = 1) -> Any:
    return sum_of(b, a, 1, -alpha)


def sum_of(a: Any, b: Any, of_a: float, of_b: float) -> Any:
    """of_a * a + of_b * b, of jets, tensors and numbers."""
    jets = [part for part in (a, b) if isinstance(part, Jet)]
    parts = [channels_of(part) for part in (a, b)]
    space = jets[0].space
    value = _combined(parts[0][()], parts[1][()], of_a, of_b)
    at = common_place("add", jets, value.shape)
    channels: dict[Derivative, Tensor] = {}
    for c in space.channels:
        if c in parts[0] and c in parts[1]:
            channels[c] = _combined(parts[0][c], parts[1][c], of_a, of_b)
        elif c in parts[0] or c in parts[1]:
            one, factor = (parts[0][c], of_a) if c in parts[0] else (parts[1][c], of_b)
            channels[c] = (one if factor == 1 else factor * one).expand(value.shape)
    result = Jet(space, value, channels, at)
    moved = jets[0]
    kept = moved is (a if of_a == 1 else b if of_b == 1 else None)  # but for a shift
    if len(jets) == 1 and kept and (value.shape, value.dtype) == (moved.shape, moved.dtype):
        result.marks = moved.marks
    return result


def _combined(a: Any, b: Any, of_a: float, of_b: float) -> Any:
    """of_a a + of_b b, where one of the factors is 1."""
    if of_a != 1:
        a, b, of_b = b, a, of_a
    return a + b if of_b == 1 else a - b if of_b == -1 else a + of_b * b


@rule("mul")
def multiplied(a: Any, b: Any) -> Any:
    """The product of jets, tensors and numbers."""
    return product("mul", torch.mul, a, b)


def product(name: str, multiply: Callable[..., Any], *factors: Any) -> Any:
    """The elementwise product of several factors, jets among them."""
    jets = [factor for factor in factors if isinstance(factor, Jet)]
    parts = [channels_of(factor) for factor in factors]
    space = jets[0].space
    value = multiply(*(part[()] for part in parts))
    at = common_place(name, jets, value.shape)
    channels = {c: product_channel(c, parts, multiply) for c in space.channels}
    kept = {c: t.expand(value.shape) for c, t in channels.items() if t is not None}
    return Jet(space, value, kept, at)


@rule("div")
def divided(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    """The quotient of jets, tensors and numbers."""
    if rounding_mode is not None:
        raise NoRule("div")
    jets = [part for part in (a, b) if isinstance(part, Jet)]
    space = jets[0].space
    if not isinstance(b, Jet):
        return product("div", torch.div, a, b) if isinstance(b, Tensor) else _by_number(a, b)
    one, other = channels_of(a), channels_of(b)
    value = one[()] / other[()]
    at = common_place("div", jets, value.shape)
    quotient: dict[Derivative, Any] = {(): value}
    for c in space.channels:
        channel = quotient_channel(c, quotient, one, other)
        if channel is not None:
            quotient[c] = channel.expand(value.shape)
    del quotient[()]
    return Jet(space, value, quotient, at)


def _by_number(jet: Jet, number: float) -> Jet:
    value, channels = jet.parts()
    return Jet(jet.space, value / number, {c: t / number for c, t in channels.items()}, jet.at)


@rule("rdiv")
def _divides(a: Any, b: Any) -> Any:
    return divided(b, a)


@rule("pow")
def _to_the_power(a: Any, b: Any) -> Any:
    if not isinstance(b, (Jet, Tensor)):
        return composed(a, powers(float(b))) if b != 0 else composed(a, _one)
    if isinstance(b, Tensor) and not isinstance(b, Jet) and b.numel() == 1 and not b.requires_grad:
        return _to_the_power(a, float(b))
    if not isinstance(a, Jet):
        if shape_of(a) == ():
            return composed(cast(Jet, b), exponential(a))
        a = torch.as_tensor(a)
    elif not isinstance(b, Jet):
        base: Any = a.expand(torch.broadcast_shapes(a.shape, b.shape))
        return composed(base, powers_of_each(b))
    return torch.exp(torch.log(a) * b)


def _one(z: Any, order: int) -> list[Any]:
    return [torch.ones_like(z), *[None] * order]


@rule("rpow")
def _power_of(a: Any, b: Any) -> Any:
    return _to_the_power(b, a)


@rule("dropout")
def _dropped(input: Any, p: float = 0.5, training: bool = True) -> Any:
    if not training or p == 0:
        return input
    mask = torch.nn.functional.dropout(torch.ones_like(input.parts()[0]), p)
    return multiplied(input, mask)  # the same elements of all channels
