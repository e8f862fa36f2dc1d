"""Rules of functions of each element, given by their derivatives, and of arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import ArgumentError
from pyneural.nn.jets.algebra import composed_channel
from pyneural.nn.jets.jet import Jet, rule
from pyneural.nn.jets.space import NoRule
from pyneural.ops import activations

# z and an order to [f(z), f'(z), ..., up to the order], None for a derivative that is zero.
Derivatives = Callable[[Any, int], Sequence[Any]]


def composed(jet: Jet, derivatives: Derivatives) -> Jet:
    """f(z) of a jet z, element by element, by Faà di Bruno's formula."""
    value, z = jet.parts()
    plan = jet.space.plan
    f = derivatives(value, plan.order if z else 0)
    found = {c: composed_channel(terms, f, z) for c, terms in plan.channels.items()} if z else {}
    kept = {c: channel for c, channel in found.items() if channel is not None}
    return Jet(jet.space, f[0], kept, jet.at)


def _up_to(order: int, *functions: Callable[[], Any]) -> list[Any]:
    return [function() for function in functions[: order + 1]]


def kernel_activation(name: str) -> Derivatives:
    """The derivatives of an activation of the ops, of which those with a kink have only one."""

    def derivatives(z: Any, order: int) -> Sequence[Any]:
        largest = 4 if name in activations.SMOOTH else 1
        if order > largest:
            raise kink(name)
        return activations.derivatives(name, z, order)

    return derivatives


def kink(name: str) -> ArgumentError:
    """The error of a second derivative where the first one jumps."""
    return ArgumentError(
        f"jet: {name}: expected first derivatives only, as the function has a kink, got a higher "
        f"one, which would be zero almost everywhere; use one of {', '.join(activations.SMOOTH)}"
    )


def _exp(z: Any, order: int) -> list[Any]:
    return [torch.exp(z)] * (order + 1)


def _cos(z: Any, order: int) -> list[Any]:
    cos = torch.cos(z)
    if not order:
        return [cos]
    sin = torch.sin(z)
    return [cos, -sin, -cos, sin, cos][: order + 1]


def _log(z: Any, order: int) -> list[Any]:
    return [torch.log(z), *powers(-1.0)(z, order - 1)] if order else [torch.log(z)]


def _scaled_log(function: Callable, base: float) -> Derivatives:
    def derivatives(z: Any, order: int) -> list[Any]:
        return [function(z), *(d / math.log(base) for d in _log(z, order)[1:])]

    return derivatives


def _log1p(z: Any, order: int) -> list[Any]:
    return [torch.log1p(z), *_log(1 + z, order)[1:]]


def powers(exponent: float) -> Derivatives:
    """The derivatives of z^n; a whole n >= 0 has only n that are not zero."""

    def derivatives(z: Any, order: int) -> list[Any]:
        found: list[Any] = []
        factor, power = 1.0, exponent
        for _ in range(order + 1):
            if factor == 0:
                found.append(None)
                continue
            term = 1.0 if power == 0 else z if power == 1 else _power(z, power)
            found.append(term if factor == 1 else factor * term)
            factor, power = factor * power, power - 1
        return found

    return derivatives


def powers_of_each(exponents: Tensor) -> Derivatives:
    """The derivatives of z^n with an exponent n for each element, of negative z too."""

    def derivatives(z: Any, order: int) -> list[Any]:
        found, factor = [z**exponents], torch.ones_like(exponents)
        for k in range(order):
            factor = factor * (exponents - k)
            power = torch.where(factor == 0, torch.zeros_like(exponents), exponents - k - 1)
            found.append(factor * z**power)  # 0, not 0 * inf, of z = 0
        return found

    return derivatives


def _power(z: Any, exponent: float) -> Any:
    special = {2: torch.square, 0.5: torch.sqrt, -1: torch.reciprocal}.get(exponent)
    return z**exponent if special is None else special(z)


def exponential(base: float | Tensor) -> Derivatives:
    """The derivatives of base^z."""

    def derivatives(z: Any, order: int) -> list[Any]:
        value, log = base**z, torch.log(torch.as_tensor(base, dtype=z.dtype, device=z.device))
        return [value, *(value * log**k for k in range(1, order + 1))]

    return derivatives


def _tan(z: Any, order: int) -> list[Any]:
    t = torch.tan(z)
    s = 1 + t * t
    return _up_to(
        order, lambda: t, lambda: s, lambda: 2 * t * s, lambda: (2 + 6 * t * t) * s,
        lambda: (16 + 24 * t * t) * t * s,
    )  # fmt: skip


def _hyperbolic(z: Any, order: int, first: int) -> list[Any]:
    pair = [torch.sinh(z), torch.cosh(z)]
    return [pair[(first + k) % 2] for k in range(order + 1)]


def _erf(z: Any, order: int, sign: float = 1.0) -> list[Any]:
    value = torch.erf(z) if sign > 0 else torch.erfc(z)
    f = sign * 2 / math.sqrt(math.pi) * torch.exp(-z * z)
    return _up_to(
        order, lambda: value, lambda: f, lambda: -2 * z * f, lambda: (4 * z * z - 2) * f,
        lambda: (12 - 8 * z * z) * z * f,
    )  # fmt: skip


def _atan(z: Any, order: int) -> list[Any]:
    w = 1 / (1 + z * z)
    return _up_to(
        order, lambda: torch.atan(z), lambda: w, lambda: -2 * z * w**2,
        lambda: (6 * z * z - 2) * w**3, lambda: 24 * z * (1 - z * z) * w**4,
    )  # fmt: skip


def _atanh(z: Any, order: int) -> list[Any]:
    w = 1 / (1 - z * z)
    return _up_to(
        order, lambda: torch.atanh(z), lambda: w, lambda: 2 * z * w**2,
        lambda: (6 * z * z + 2) * w**3, lambda: 24 * z * (1 + z * z) * w**4,
    )  # fmt: skip


def _inverse_root(function: Callable, radicand: Callable, sign: float, s: float) -> Derivatives:
    """asin, acos, asinh, acosh: f' = sign * r with r = radicand^(-1/2), r' = s z r^3."""

    def derivatives(z: Any, order: int) -> list[Any]:
        q = radicand(z)
        r = torch.rsqrt(q)
        return _up_to(
            order, lambda: function(z), lambda: sign * r, lambda: sign * s * z * r**3,
            lambda: sign * s * (q + 3 * s * z * z) * r**5,
            lambda: sign * (9 * z * q + 15 * s * z**3) * r**7,
        )  # fmt: skip

    return derivatives


def _polygamma(first: int) -> Derivatives:
    """Lgamma (-1) and digamma (0), whose derivatives are the polygamma functions."""

    def derivatives(z: Any, order: int) -> list[Any]:
        start = [torch.lgamma(z)] if first < 0 else []
        n = order + 1 - len(start)
        return [*start, *(torch.special.polygamma(k, z) for k in range(n))]

    return derivatives


def _piecewise_constant(function: Callable) -> Derivatives:
    return lambda z, order: [function(z)] + [None] * order


def _abs(z: Any, order: int) -> list[Any]:
    return [torch.abs(z), torch.sign(z), *[None] * (order - 1)][: order + 1]


# Derivatives of |z|, sign and the like are those almost everywhere, as in autograd.
UNARY: dict[str, Derivatives] = {
    **{name: kernel_activation(name) for name in ("tanh", "sin", "sigmoid", "silu", "relu")},
    "exp": _exp,
    "expm1": lambda z, order: [torch.expm1(z), *_exp(z, order)[1:]],
    "exp2": lambda z, order: exponential(2.0)(z, order),
    "cos": _cos,
    "tan": _tan,
    "log": _log,
    "log1p": _log1p,
    "log2": _scaled_log(torch.log2, 2.0),
    "log10": _scaled_log(torch.log10, 10.0),
    "sqrt": powers(0.5),
    "rsqrt": powers(-0.5),
    "square": powers(2.0),
    "reciprocal": powers(-1.0),
    "sinh": lambda z, order: _hyperbolic(z, order, 0),
    "cosh": lambda z, order: _hyperbolic(z, order, 1),
    "erf": _erf,
    "erfc": lambda z, order: _erf(z, order, -1.0),
    "atan": _atan,
    "atanh": _atanh,
    "asin": _inverse_root(torch.asin, lambda z: 1 - z * z, 1.0, 1.0),
    "acos": _inverse_root(torch.acos, lambda z: 1 - z * z, -1.0, 1.0),
    "asinh": _inverse_root(torch.asinh, lambda z: 1 + z * z, 1.0, -1.0),
    "acosh": _inverse_root(torch.acosh, lambda z: z * z - 1, 1.0, -1.0),
    "lgamma": _polygamma(-1),
    "digamma": _polygamma(0),
    "abs": _abs,
    **{
        name: _piecewise_constant(getattr(torch, name))
        for name in ("sign", "floor", "ceil", "round", "trunc")
    },
}


def _unary(name: str, derivatives: Derivatives) -> None:
    def apply(input: Any) -> Any:
        return composed(input, derivatives)

    rule(name)(apply)


for _name, _derivatives in UNARY.items():
    _unary(_name, _derivatives)


@rule("gelu")
def _gelu(input: Any, *, approximate: str = "none") -> Any:
    return composed(input, kernel_activation("gelu_tanh" if approximate == "tanh" else "gelu"))


@rule("softplus")
def _softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    smooth = kernel_activation("softplus")
    if beta == 1:
        return composed(input, smooth)
    scaled: Any = input * beta
    return composed(scaled, smooth) / beta


@rule("leaky_relu")
def _leaky_relu(input: Any, negative_slope: float = 0.01) -> Any:
    return _with_kink("leaky_relu", input, torch.nn.functional.leaky_relu, negative_slope)


@rule("elu")
def _elu(input: Any, alpha: float = 1.0) -> Any:
    return _with_kink("elu", input, torch.nn.functional.elu, alpha)


def _with_kink(name: str, jet: Any, function: Callable[..., Tensor], *options: Any) -> Any:
    """A function of an activation whose first derivative autograd gives and whose second jumps."""

    def derivatives(z: Tensor, order: int) -> list[Tensor]:
        if order > 1:
            raise kink(name)
        value = function(z, *options)
        if order == 0:
            return [value]
        with torch.enable_grad():
            at = z.detach().requires_grad_()
            slope = torch.autograd.grad(function(at, *options).sum(), at)[0]
        return [value, slope]

    return composed(jet, derivatives)


def _kinked(name: str, function: Callable[..., Tensor]) -> None:
    def apply(input: Any, *options: Any, **named: Any) -> Any:
        if jets_among(options, named):
            raise NoRule(name)
        return _with_kink(name, input, lambda z: function(z, *options, **named))

    rule(name)(apply)


def jets_among(*arguments: Any) -> bool:
    """Whether a tensor is among options, which are to be numbers."""
    return any(
        isinstance(a, Tensor)
        for group in arguments
        for a in (group.values() if isinstance(group, dict) else group)
    )


for _name in ("relu6", "hardtanh", "hardswish", "hardsigmoid", "celu", "selu"):
    _kinked(_name, getattr(torch.nn.functional, _name))
