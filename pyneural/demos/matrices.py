"""A network is a chain of matrix products: 3x5 . 5x2 . 2x1.

Without activations the chain equals one 3 x 1 matrix and one bias, whatever
its depth; with tanh after each product, no single matrix gives the same
result. Prints both differences; writes matrices.png.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import torch

from pyneural import plots
from pyneural.demos._options import print_row
from pyneural.models import MatrixChain, best_affine

SYSTEMS = ("S05",)
SUMMARY = "A chain of matrices, and one of layers."
NEXT = "pyneural demo dense-layer: a matrix as a layer"
WIDTHS, SAMPLES = (3, 5, 2, 1), 2000


@torch.no_grad()
def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    linear, curved = (MatrixChain(WIDTHS, f).double() for f in ("linear", "tanh"))
    for parameter in linear.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(SAMPLES, WIDTHS[0], dtype=torch.float64)
    direction = torch.randn(WIDTHS[0], dtype=torch.float64)
    curved.load_state_dict(linear.state_dict())
    s = torch.linspace(-4, 4, 400, dtype=torch.float64)
    line = torch.outer(s, direction / direction.norm())  # [400, 3], the first of the points
    points = torch.cat([line, x])  # the best single matrix is fitted to all of these

    weight, bias = linear.collapsed()
    collapsed = points @ weight + bias
    best = best_affine(points, curved(points))
    shapes = " . ".join(f"{a}x{b}" for a, b in pairwise(WIDTHS))
    print(f"A chain of matrices  {shapes} = {WIDTHS[0]}x{WIDTHS[-1]}\n")
    without, with_tanh = (_distance(chain(points), collapsed) for chain in (linear, curved))
    print_row("product", "  ".join(f"{value:+.4f}" for value in weight[:, 0].tolist()))
    print_row("its bias", f"{bias.item():+.4f}")
    print_row("without f", f"{without:.1e} relative difference from the product")
    print_row("with tanh", f"{with_tanh:.1e} from the product")
    print_row("", f"{_distance(curved(points), best):.1e} from the best of all single matrices")
    outputs, tanh_outputs, product, single = (
        y[: len(s), 0] for y in (linear(points), curved(points), collapsed, best)
    )
    curves = [
        ("Without $f$: one matrix", "three matrices", outputs, "their product", product),
        (r"With $f = \mathrm{tanh}$: no single matrix", "three matrices with tanh", tanh_outputs,
         "best single matrix", single),
    ]  # fmt: skip
    return plots.matrices(linear.matrices(), weight, s, curves)


def _distance(y: torch.Tensor, other: torch.Tensor) -> float:
    """Norm of the difference, relative to the norm of y about its mean."""
    return float((y - other).norm() / (y - y.mean()).norm())
