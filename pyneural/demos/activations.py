"""Activation functions and their derivatives.

Value and first two derivatives of linear, sigmoid, tanh, ReLU, leaky ReLU,
ELU, maxout, softmax, sin, SiLU, GELU and softplus. Prints some values and the
difference between derivatives from autograd and the closed forms of the
kernels; writes activations.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from pyneural import nn, plots
from pyneural.ops.activations import VALUES, derivatives

SYSTEMS = ("S02",)
SUMMARY = "Activations, their values and derivatives."
NEXT = "pyneural demo dense-layer: what one layer makes of them"
# Maxout and softmax, which take several variables, are shown as functions of one of them.
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


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    z = torch.linspace(-4, 4, 802, dtype=torch.float64)  # without 0, where some have a kink
    curves = {name: value_and_derivatives(name, z, 2) for name in FORMULAS}
    print("Activations\n")
    print("                 f(-2)     f(0)     f(2)   f'(-2)    f'(2)  from closed form")
    ends = torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64)
    for name, curve in curves.items():
        value, slope = value_and_derivatives(name, ends, 1)
        entries = (*value.tolist(), slope[0].item(), slope[2].item())
        columns = "".join(f"{entry:9.4f}" for entry in entries)
        closed = "-"
        if name in VALUES:
            exact = derivatives(name, z, 1)
            distance = (torch.stack(exact) - torch.stack(curve[:2])).abs().max()
            closed = f"{distance.item():.0e}"
        print(f"  {name:<11}{columns}   {closed:>15}", flush=True)
    print()
    return plots.activations(z, curves, FORMULAS)


def function_of_one_variable(name: str) -> Callable[[Tensor], Tensor]:
    """The activation as an elementwise function of z [N].

    Maxout and softmax take several variables: maxout gets three affine functions of z, and softmax
    is the first component of softmax(z, 0, 1).

    Raises:
        ValueError: an unknown name.

    >>> function_of_one_variable("maxout")(torch.tensor([-4.0, 4.0]))
    tensor([1., 4.])
    """
    if name not in FORMULAS:
        raise ValueError(
            f"function_of_one_variable: name: expected one of {', '.join(FORMULAS)}, got {name!r}; "
            "choose one"
        )
    if name == "maxout":
        return lambda z: nn.Maxout(3)(torch.stack([z, -z / 2 - 1, z / 4], -1)).squeeze(-1)
    if name == "softmax":
        return lambda z: torch.softmax(torch.stack([z, 0 * z, 0 * z + 1], -1), -1)[..., 0]
    return VALUES[name]


def value_and_derivatives(name: str, z: Tensor, order: int) -> list[Tensor]:
    """[f(z), f'(z), ...] up to the given order, each [N], by reverse-mode differentiation.

    >>> [round(float(f)) for f in value_and_derivatives("tanh", torch.zeros(1), 3)]
    [0, 1, 0, -2]
    """
    z = z.detach().requires_grad_()
    found = [function_of_one_variable(name)(z)]
    for _ in range(order):
        grads = torch.autograd.grad(
            found[-1].sum(), z, create_graph=True, allow_unused=True, materialize_grads=True
        )
        # A constant has no graph: adding 0 z gives it one, for the next derivative.
        found.append(grads[0] if grads[0].requires_grad else grads[0] + 0 * z)
    return [value.detach() for value in found]
