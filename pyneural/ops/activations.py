"""The activations: which there are, and each with its derivatives in plain torch.

Which there are and what they are like is said once, in ``csrc/common/activation.h``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural import _C
from pyneural.errors import ArgumentError

_PROPERTIES = _C.activations()

NAMES = tuple(_PROPERTIES)
# Those with derivatives of second and higher order.
SMOOTH = tuple(name for name in NAMES if _PROPERTIES[name]["is_smooth"])
# Those whose derivative is no function of their value, so that a backward needs z.
NEEDS_PREACTIVATION = frozenset(n for n in NAMES if _PROPERTIES[n]["needs_preactivation"])


def check_activation(
    where: str, activation: str | None, aliases: Mapping[str | None, str] | None = None
) -> str:
    """The name of an activation as the ops spell it.

    Args:
        where: who asks, for the message.
        activation: a name of the ops, or an alias.
        aliases: further names, and what they stand for.

    Raises:
        ArgumentError: a name that is neither.

    >>> check_activation("Linear", "tanh"), check_activation("Dense", "swish", {"swish": "silu"})
    ('tanh', 'silu')
    """
    names = dict(aliases or {}) | {name: name for name in NAMES}
    if activation not in names:
        known = ", ".join(name for name in names if name is not None)
        raise ArgumentError(
            f"{where}: activation: expected one of {known}, got {activation!r}; choose one of these"
        )
    return names[activation]


def derivatives(activation: str, z: Tensor, order: int) -> list[Tensor]:
    """[f(z), f'(z), ..., up to the order], each of the shape of z, differentiable again.

    Raises:
        ArgumentError: an unknown activation, or an order above 4, or above 1 where f has a kink.

    Example:
        >>> z = torch.zeros(())
        >>> [float(f) for f in derivatives("tanh", z, 3)]
        [0.0, 1.0, 0.0, -2.0]
    """
    check_activation("derivatives", activation)
    largest = 4 if activation in SMOOTH else 1
    if order > largest:
        remedy = "autograd" if activation in SMOOTH else f"one of {', '.join(SMOOTH)}"
        raise ArgumentError(
            f"derivatives: expected orders up to {largest} with {activation}, got {order}; "
            f"use {remedy}"
        )
    return list(itertools.islice(_TABLE[activation][1](z), order + 1))


# Each yields f, f', f'', ...: only the orders that are asked for are computed.


def _tanh(z: Tensor) -> Iterator[Tensor]:
    a = torch.tanh(z)
    yield a
    s = 1 - a * a
    yield s
    yield -2 * a * s
    yield (6 * a * a - 2) * s
    yield (16 - 24 * a * a) * a * s


def _sin(z: Tensor) -> Iterator[Tensor]:
    sin, cos = torch.sin(z), torch.cos(z)
    yield from (sin, cos, -sin, -cos, sin)


def _sigmoid(z: Tensor) -> Iterator[Tensor]:
    a = torch.sigmoid(z)
    yield a
    s = a * (1 - a)
    yield s
    odd = 1 - 2 * a
    yield s * odd
    yield s * (1 - 6 * s)
    yield s * odd * (1 - 12 * s)


def _times_z(z: Tensor, factor: Iterator[Tensor]) -> Iterator[Tensor]:
    """Derivatives of z s: (z s)^(k) = k s^(k-1) + z s^(k)."""
    before = next(factor)
    yield z * before
    for k, s in enumerate(factor, 1):
        yield k * before + z * s
        before = s


def _gelu(z: Tensor) -> Iterator[Tensor]:
    distribution = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
    yield z * distribution
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    yield distribution + z * density
    yield (2 - z**2) * density
    yield (z**2 - 4) * z * density
    yield (7 * z**2 - z**4 - 4) * density


def _sigmoid_of_cubic(z: Tensor) -> Iterator[Tensor]:
    """(1 + tanh(w / 2)) / 2 = sigmoid(w) of w(z) = c (z + d z^3), by Faà di Bruno's formula."""
    c, d = 2 * math.sqrt(2 / math.pi), 0.044715
    s = _sigmoid(c * (z + d * z**3))
    yield next(s)
    s1, w1 = next(s), c * (1 + 3 * d * z**2)
    yield s1 * w1
    s2, w2 = next(s), 6 * c * d * z
    yield s2 * w1**2 + s1 * w2
    s3, w3 = next(s), 6 * c * d
    yield s3 * w1**3 + 3 * s2 * w1 * w2 + s1 * w3
    yield next(s) * w1**4 + 6 * s3 * w1**2 * w2 + s2 * (4 * w1 * w3 + 3 * w2**2)


def _softplus(z: Tensor) -> Iterator[Tensor]:
    yield F.softplus(z)
    for order, derivative in enumerate(_sigmoid(z), start=1):
        yield torch.where(z > 20, float(order == 1), derivative)  # F.softplus is linear there


def _leaky_relu(z: Tensor, slope: float = 0.01) -> Iterator[Tensor]:
    yield F.leaky_relu(z, slope)
    yield torch.where(z > 0, torch.ones_like(z), slope)


def _elu(z: Tensor) -> Iterator[Tensor]:
    a = F.elu(z)
    yield a
    yield 1 + a.clamp(max=0)


def _gelu_tanh(z: Tensor) -> Tensor:
    return F.gelu(z, approximate="tanh")


# f, and f with its derivatives.
_TABLE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Iterator[Tensor]]]] = {
    "tanh": (torch.tanh, _tanh),
    "sin": (torch.sin, _sin),
    "sigmoid": (torch.sigmoid, _sigmoid),
    "silu": (F.silu, lambda z: _times_z(z, _sigmoid(z))),
    "gelu": (F.gelu, _gelu),
    "gelu_tanh": (
        _gelu_tanh,  # no partial, which torch.jit.script does not take
        lambda z: _times_z(z, _sigmoid_of_cubic(z)),
    ),
    "softplus": (F.softplus, _softplus),
    "linear": (torch.clone, lambda z: iter((z, torch.ones_like(z)))),
    "relu": (F.relu, lambda z: _leaky_relu(z, 0.0)),
    "leaky_relu": (F.leaky_relu, _leaky_relu),
    "elu": (F.elu, _elu),
}

VALUES: dict[str, Callable[[Tensor], Tensor]] = {name: _TABLE[name][0] for name in NAMES}
