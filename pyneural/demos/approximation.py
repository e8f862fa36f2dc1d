"""Approximating a nonlinear function: error against width and depth.

    phi(x) = sin(2 pi x) exp(-x^2) + x^3   on [-1, 1]

Networks with tanh activations are fitted to 200 values of phi by damped least
squares (Levenberg-Marquardt), for several widths, depths and seeds. Prints the
relative L2 error of the best seed on a finer grid, and writes
approximation.png.
"""

from __future__ import annotations

import argparse
import itertools
import math

import torch
from torch import Tensor

from pyneural import nn, plots
from pyneural.demos._options import counted, whole
from pyneural.models import fit_function
from pyneural.progress import progress

SYSTEMS = ("S06",)
SUMMARY = "Approximating a function: width and depth."
NEXT = "pyneural demo mlp: a network step by step, with its gradient"
QUICK = ("--seeds", "1", "--steps", "50")
WIDTHS, DEPTHS, SHOWN = (1, 2, 4, 8, 16, 32), (1, 2, 3, 4), (1, 2, 4)
POINTS, TEST_POINTS = 200, 1001
OPTIONS = {
    "--seeds": whole("networks for each width and depth", 3, low=1),
    "--steps": whole("Levenberg-Marquardt steps", 200, low=1),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    test = torch.linspace(-1, 1, TEST_POINTS, dtype=torch.float64)[:, None]
    exact = _phi(test)
    x = torch.linspace(-1, 1, POINTS, dtype=torch.float64)[:, None]
    fits: dict[tuple[int, int, int], Tensor] = {}
    cases = list(itertools.product(range(len(DEPTHS)), range(len(WIDTHS)), range(args.seeds)))
    print("Approximating  phi(x) = sin(2 pi x) exp(-x^2) + x^3\n")
    for case in progress("fitting", cases):
        depth, width, seed = case
        torch.manual_seed(args.seed + seed)
        network = nn.MLP(1, [WIDTHS[width]] * DEPTHS[depth], 1).double()
        for name, bias in network.named_parameters():
            if name.endswith("bias"):  # spreads the hidden units over [-1, 1]
                torch.nn.init.uniform_(bias, -1, 1)
        fit_function(network, x, _phi(x), args.steps)
        fits[case] = network(test).detach()
    shape = len(DEPTHS), len(WIDTHS), args.seeds
    errors = torch.stack([(fits[case] - exact).norm() / exact.norm() for case in cases]).view(shape)
    best = errors.min(-1)
    print(f"  relative L2 error, best of {counted(args.seeds, 'seed')}\n")
    print("  hidden layers          width")
    print(" " * 15 + "".join(f"{width:>10}" for width in WIDTHS))
    for depth, row in zip(DEPTHS, best.values.tolist(), strict=True):
        print(f"  {depth:<13}" + "".join(f"{error:10.1e}" for error in row))
    print()
    shown = [
        (f"width {width}", fits[0, i, int(best.indices[0, i])][:, 0])
        for i, width in enumerate(WIDTHS)
        if width in SHOWN
    ]
    return plots.approximation(test[:, 0], exact[:, 0], shown, WIDTHS, DEPTHS, errors)


def _phi(x: Tensor) -> Tensor:
    return torch.sin(2 * math.pi * x) * torch.exp(-(x**2)) + x**3
