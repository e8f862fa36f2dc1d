"""The activations of the course, as functions of one number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyneural import nn
from pyneural.ops.activations import VALUES

# Those of several numbers are shown along one of them.
FORMULAS = {
    "linear": "$z$",
    "sigmoid": r"$1 / (1 + e^{-z})$",
    "tanh": r"$\tanh z$",
    "relu": r"$\max(0, z)$",
    "leaky_relu": r"$\max(0.01 z, z)$",
    "elu": r"$z$ or $e^z - 1$",
    "maxout": r"$\max(z, -z/2 - 1, z/4)$",
    "softmax": r"$e^z / (e^z + e^0 + e^1)$",
    "sin": r"$\sin z$",
    "silu": r"$z\,\sigma(z)$",
    "gelu": r"$z\,\Phi(z)$",
    "softplus": r"$\ln(1 + e^z)$",
}


def along_a_line(name: str) -> Callable[[Tensor], Tensor]:
    """The activation as a function of z [N], of which it is taken element by element.

    Maxout and softmax need several numbers: maxout takes three affine pieces of z, and softmax the
    first share of (z, 0, 1).

    Raises:
        ValueError: an unknown name.

    >>> along_a_line("maxout")(torch.tensor([-4.0, 4.0]))
    tensor([1., 4.])
    """
    if name not in FORMULAS:
        raise ValueError(
            f"along_a_line: name: expected one of {', '.join(FORMULAS)}, got {name!r}; choose one"
        )
    if name == "maxout":
        return lambda z: nn.Maxout(3)(torch.stack([z, -z / 2 - 1, z / 4], -1)).squeeze(-1)
    if name == "softmax":
        return lambda z: torch.softmax(torch.stack([z, 0 * z, 0 * z + 1], -1), -1)[..., 0]
    return VALUES[name]


def value_and_derivatives(name: str, z: Tensor, order: int) -> list[Tensor]:
    """[f(z), f'(z), ..., up to the order], each [N], by reverse mode.

    >>> [round(float(f)) for f in value_and_derivatives("tanh", torch.zeros(1), 3)]
    [0, 1, 0, -2]
    """
    z = z.detach().requires_grad_()
    found = [along_a_line(name)(z)]
    for _ in range(order):
        grads = torch.autograd.grad(
            found[-1].sum(), z, create_graph=True, allow_unused=True, materialize_grads=True
        )
        # What is constant has no graph to go on from.
        found.append(grads[0] if grads[0].requires_grad else grads[0] + 0 * z)
    return [value.detach() for value in found]
