"""Activation functions and their derivatives.

Value and first two derivatives of linear, sigmoid, tanh, ReLU, leaky ReLU,
ELU, maxout, softmax, sin, SiLU, GELU and softplus. Prints some values and the
difference between derivatives from autograd and the closed forms of the
kernels; writes activations.png.
"""

from __future__ import annotations

import argparse

import torch

from pyneural import plots
from pyneural.demos import _options
from pyneural.demos._activations import FORMULAS, value_and_derivatives
from pyneural.ops.activations import VALUES, derivatives

SYSTEMS = ("S02",)
SUMMARY = "Activations, their values and derivatives."


def run(args: argparse.Namespace) -> int:
    """Runs the demo; returns 0."""
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
    figure = plots.activations(z, curves, FORMULAS)
    _options.save_picture(figure, args.out / "activations.png")
    return 0
