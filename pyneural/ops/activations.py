"""The activations: which there are, and each with its derivatives in plain torch.

Which there are and what they are like is said once, in ``csrc/common/activation.h``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural import _C

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
        ValueError: a name that is neither.

    >>> check_activation("Linear", "tanh"), check_activation("Dense", "swish", {"swish": "silu"})
    ('tanh', 'silu')
    """
    names = dict(aliases or {}) | {name: name for name in NAMES}
    if activation not in names:
        known = ", ".join(name for name in names if name is not None)
        raise ValueError(
            f"{where}: activation: expected one of {known}, got {activation!r}; choose one of these"
        )
    return names[activation]


def derivatives(activation: str, z: Tensor, order: int) -> list[Tensor]:
    """[f(z), f'(z), ..., up to the order], each of the shape of z, differentiable again.

    Raises:
        ValueError: an unknown activation, or an order above 4, or above 1 where f has a kink.

    Example:
        >>> z = torch.zeros(())
        >>> [float(f) for f in derivatives("tanh", z, 3)]
        [0.0, 1.0, 0.0, -2.0]
    """
    check_activation("derivatives", activation)
    largest = 4 if activation in SMOOTH else 1
    if order > largest:
        remedy = "autograd" if activation in SMOOTH else f"one of {', '.join(SMOOTH)}"
        raise ValueError(
            f"derivatives: expected orders up to {largest} with {activation}, got {order}; "
            f"use {remedy}"
        )
    return _TABLE[activation][1](z)[: order + 1]


def _tanh(z: Tensor) -> list[Tensor]:
    a = torch.tanh(z)
    s = 1 - a * a
    return [a, s, -2 * a * s, (6 * a * a - 2) * s, (16 - 24 * a * a) * a * s]


def _sin(z: Tensor) -> list[Tensor]:
    sin, cos = torch.sin(z), torch.cos(z)
    return [sin, cos, -sin, -cos, sin]


def _sigmoid(z: Tensor) -> list[Tensor]:
    a = torch.sigmoid(z)
    s = a * (1 - a)
    odd = 1 - 2 * a
    return [a, s, s * odd, s * (1 - 6 * s), s * odd * (1 - 12 * s)]


def _silu(z: Tensor) -> list[Tensor]:
    # (z s)^(k) = k s^(k-1) + z s^(k)
    s = _sigmoid(z)
    return [z * s[0], *(k * s[k - 1] + z * s[k] for k in range(1, 5))]


def _gelu(z: Tensor) -> list[Tensor]:
    distribution = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return [
        z * distribution,
        distribution + z * density,
        (2 - z**2) * density,
        (z**2 - 4) * z * density,
        (7 * z**2 - z**4 - 4) * density,
    ]


def _gelu_tanh(z: Tensor) -> list[Tensor]:
    # z sigmoid(w(z)), which is z (1 + tanh(w / 2)) / 2: Faà di Bruno's formula for sigmoid(w).
    c, d = 2 * math.sqrt(2 / math.pi), 0.044715
    t = _sigmoid(c * (z + d * z**3))
    w1, w2, w3 = c * (1 + 3 * d * z**2), 6 * c * d * z, 6 * c * d
    s = [
        t[0],
        t[1] * w1,
        t[2] * w1**2 + t[1] * w2,
        t[3] * w1**3 + 3 * t[2] * w1 * w2 + t[1] * w3,
        t[4] * w1**4 + 6 * t[3] * w1**2 * w2 + t[2] * (4 * w1 * w3 + 3 * w2**2),
    ]
    return [z * s[0], *(k * s[k - 1] + z * s[k] for k in range(1, 5))]


def _softplus(z: Tensor) -> list[Tensor]:
    return [F.softplus(z), *_sigmoid(z)[:4]]


def _leaky_relu(z: Tensor, slope: float = 0.01) -> list[Tensor]:
    return [F.leaky_relu(z, slope), torch.where(z > 0, torch.ones_like(z), slope)]


def _relu(z: Tensor) -> list[Tensor]:
    return _leaky_relu(z, 0.0)


def _elu(z: Tensor) -> list[Tensor]:
    return [F.elu(z), torch.where(z > 0, 1.0, torch.exp(z.clamp(max=0)))]


def _linear(z: Tensor) -> list[Tensor]:
    return [z, torch.ones_like(z)]


# f, and [f, its derivatives].
_TABLE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], list[Tensor]]]] = {
    "tanh": (torch.tanh, _tanh),
    "sin": (torch.sin, _sin),
    "sigmoid": (torch.sigmoid, _sigmoid),
    "silu": (F.silu, _silu),
    "gelu": (F.gelu, _gelu),
    "gelu_tanh": (functools.partial(F.gelu, approximate="tanh"), _gelu_tanh),
    "softplus": (F.softplus, _softplus),
    "linear": (torch.clone, _linear),
    "relu": (F.relu, _relu),
    "leaky_relu": (F.leaky_relu, _leaky_relu),
    "elu": (F.elu, _elu),
}

VALUES: dict[str, Callable[[Tensor], Tensor]] = {name: _TABLE[name][0] for name in NAMES}
