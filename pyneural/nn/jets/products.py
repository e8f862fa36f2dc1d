"""Rules of matrix products and of what else is linear in each of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.nn.jets.algebra import product_channel
from pyneural.nn.jets.chain import Chain, may_begin
from pyneural.nn.jets.jet import Jet, channels_of, rule
from pyneural.nn.jets.space import NoRule


def multilinear(
    name: str, multiply: Callable[..., Tensor], factors: Sequence[Any], places: Sequence[int | None]
) -> Jet:
    """A function that is linear in each of its factors.

    Args:
        name: of the operation.
        multiply: of tensors.
        factors: jets and constants.
        places: for each jet, where its points would be in the result; None where they are gone.
    """
    jets = [factor for factor in factors if isinstance(factor, Jet)]
    space = jets[0].space
    if len(set(places)) != 1 or places[0] is None:
        raise space.mixes(name)
    parts = [channels_of(factor) for factor in factors]
    found = {c: product_channel(c, parts, multiply) for c in space.channels}
    value = multiply(*(part[()] for part in parts))
    at = places[0] + value.dim() if places[0] < 0 else places[0]
    return Jet(space, value, {c: t for c, t in found.items() if t is not None}, at)


@rule("linear")
def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    if isinstance(weight, Jet):
        result = _matmul(input, weight.transpose(-1, -2))
        return result if bias is None else result + bias
    if not isinstance(input, Jet):  # the bias alone depends on the points
        return F.linear(input, weight) + bias
    if isinstance(bias, Jet):
        return _linear(input, weight) + bias
    if input.at == input.dim() - 1:
        raise input.space.mixes("linear")
    if may_begin(input, weight, bias):
        return Chain.begin(input, weight, bias)
    value, channels = input.parts()
    return Jet(
        input.space, F.linear(value, weight, bias),
        {c: F.linear(t, weight) for c, t in channels.items()}, input.at,
    )  # fmt: skip


@rule("matmul", "mm", "bmm", "mv")
def _matmul(a: Any, b: Any) -> Any:
    places = []
    if isinstance(a, Jet):
        here = a.at - a.dim()
        gone = here == -1  # it is summed over
        places.append(None if gone else here + (b.dim() == 1))
    if isinstance(b, Jet):
        here = b.at - b.dim()
        gone = here == (-2 if b.dim() > 1 else -1)
        places.append(None if gone else here + (a.dim() == 1 and here < -1))
    return multilinear("matmul", torch.matmul, (a, b), places)


@rule("rmatmul")
def _matmul_of(a: Any, b: Any) -> Any:
    return _matmul(b, a)


@rule("addmm", "baddbmm", "addmv", "addbmm")
def _add_product(input: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    result = torch.matmul(a, b)
    if result.dim() != max(a.dim(), b.dim()) and b.dim() > 1:
        raise NoRule("addbmm")
    return beta * input + alpha * result


@rule("einsum")
def _einsum(equation: str, *operands: Any) -> Any:
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    text = equation.replace(" ", "")
    if "." in text or not isinstance(equation, str):
        raise NoRule("einsum with an ellipsis")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = sorted(set(left) - {","})
        right = "".join(letter for letter in letters if left.count(letter) == 1)
    jets = [(o, term) for o, term in zip(operands, terms, strict=True) if isinstance(o, Jet)]
    points = {term[jet.at] for jet, term in jets}
    letter = points.pop()
    if points or letter not in right:
        raise jets[0][0].space.mixes("einsum")
    # The letter of the points may stand for nothing else, or two points would meet.
    if any(term.count(letter) > 1 for term in terms):
        raise jets[0][0].space.mixes("einsum")
    return multilinear(
        "einsum", lambda *tensors: torch.einsum(text, *tensors), operands,
        [right.index(letter)] * len(jets),
    )  # fmt: skip


@rule("bilinear")
def _bilinear(a: Any, b: Any, weight: Tensor, bias: Tensor | None = None) -> Any:
    result = torch.einsum("ni,oij,nj->no", a, weight, b)
    return result if bias is None else result + bias


@rule("outer", "ger")
def _outer(a: Any, b: Any) -> Any:
    return a[:, None] * b


@rule("dot", "inner", "vdot")
def _inner(a: Any, b: Any) -> Any:
    return _matmul(a, b.transpose(-1, -2) if b.dim() > 1 else b)


@rule("cross", "linalg_cross")
def _cross(a: Any, b: Any, dim: int = -1) -> Any:
    jets = [jet for jet in (a, b) if isinstance(jet, Jet)]
    if any(jet.at == dim % jet.dim() for jet in jets):
        raise jets[0].space.mixes("cross")
    places = [jet.at - jet.dim() for jet in jets]
    return multilinear("cross", lambda x, y: torch.linalg.cross(x, y, dim=dim), (a, b), places)


def _convolution(name: str, function: Callable[..., Tensor]) -> None:
    def apply(input: Any, weight: Any, bias: Any = None, *options: Any, **named: Any) -> Any:
        if not isinstance(input, Jet) or isinstance(weight, Jet) or isinstance(bias, Jet):
            raise NoRule(name)
        value, channels = input.parts()
        result = function(value, weight, bias, *options, **named)
        if input.at != 0 or result.dim() != weight.dim():
            raise input.space.mixes(name)
        parts = {c: function(t, weight, None, *options, **named) for c, t in channels.items()}
        return Jet(input.space, result, parts, 0)

    rule(name)(apply)


for _name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"):
    _convolution(_name, getattr(F, _name))
