"""The activations of the ops, and the derivatives of those of the jet ops, in plain torch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sin": torch.sin,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": functools.partial(F.gelu, approximate="tanh"),
    "softplus": F.softplus,
    "linear": torch.clone,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
}


def check_activation(where: str, activation: str) -> None:
    """Refuses the name of an activation that the ops do not know.

    >>> check_activation("Linear", "tanh")
    """
    if activation not in VALUES:
        raise ValueError(
            f"{where}: activation: expected one of {', '.join(VALUES)}, got {activation!r}; "
            "choose one of these"
        )


def derivatives(activation: str, z: Tensor, order: int) -> list[Tensor]:
    """[f(z), f'(z), ..., up to the order], each of the shape of z, differentiable again.

    Raises:
        ValueError: an unknown activation, or an order above 4, or above 1 where f has a kink.

    Example:
        >>> z = torch.zeros(())
        >>> [float(f) for f in derivatives("tanh", z, 3)]
        [0.0, 1.0, 0.0, -2.0]
    """
    known = _SMOOTH | _KINKED
    if activation not in known:
        raise ValueError(
            f"activation: expected one of {', '.join(known)}, got {activation!r}; write its name"
        )
    largest = 1 if activation in _KINKED else 4
    if order > largest:
        remedy = f"one of {', '.join(_SMOOTH)}" if largest == 1 else "autograd"
        raise ValueError(
            f"derivatives: expected orders up to {largest} with {activation}, got {order}; "
            f"use {remedy}"
        )
    return known[activation](z)[: order + 1]


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


_SMOOTH: dict[str, Callable[[Tensor], list[Tensor]]] = {
    "tanh": _tanh,
    "sin": _sin,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "softplus": _softplus,
}
_KINKED: dict[str, Callable[[Tensor], list[Tensor]]] = {
    "linear": lambda z: [z, torch.ones_like(z)],
    "relu": lambda z: _leaky_relu(z, 0.0),
    "leaky_relu": _leaky_relu,
    "elu": lambda z: [F.elu(z), torch.where(z > 0, 1.0, torch.exp(z.clamp(max=0)))],
}
