"""A fully connected layer: every node goes to every node of the next layer.

    y = f(W x + b),   O x I weights and O biases: O (I + 1) parameters

Counts the parameters of layers, and puts `pyneural.nn.Linear` in the place of
`torch.nn.Linear`: with the same seed the weights are the same, a `state_dict`
fits both. Their outputs and gradients differ by rounding only: both are
compared with float64. Prints counts and distances; writes dense-layer.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from pyneural import nn, plots
from pyneural.demos._options import print_row
from pyneural.training import count_parameters

SYSTEMS = ("S03",)
SUMMARY = "A fully connected layer: count, drop-in."
NEXT = "pyneural demo mlp: layers one after the other"
INPUTS, OUTPUTS, SAMPLES = 3, 4, 256
WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512)


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    small = nn.Linear(INPUTS, OUTPUTS)
    row = count_parameters(torch.nn.Sequential(small)).layers[0]
    print("A fully connected layer\n")
    print_row("layer", f"{INPUTS} to {OUTPUTS} nodes: {row.total} parameters, {row.breakdown}")
    print("\n                            float32, distance from float64")
    print("                             output              gradient of W")
    print("  I = O  parameters       ours      torch       ours      torch")
    counts, distances = [], []
    for width in WIDTHS:
        ours, theirs = (_made(kind, width, args.seed) for kind in (nn.Linear, torch.nn.Linear))
        exact = torch.nn.Linear(width, width).double()
        exact.load_state_dict(ours.state_dict())  # ours fits torch's layer
        same = all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
        if not same:
            raise RuntimeError(f"expected the weights of torch.nn.Linear, got others at {width}")
        counts.append(sum(parameter.numel() for parameter in ours.parameters()))
        distances.append(_distances(ours, theirs, exact))
        texts = "".join(f"{value:11.1e}" for value in distances[-1])
        print(f"  {width:>5}{counts[-1]:>12,}{texts}")
    print()
    print_row("same seed", "the same weights as torch.nn.Linear, bit for bit")
    print_row("state_dict", f"{', '.join(ours.state_dict())}: loads into torch.nn.Linear")
    return plots.dense_layer(small.weight, small.bias, WIDTHS, counts, torch.tensor(distances))


def _made(kind: Callable[..., torch.nn.Linear], width: int, seed: int) -> torch.nn.Linear:
    torch.manual_seed(seed)
    return kind(width, width)


def _distances(
    ours: torch.nn.Linear, theirs: torch.nn.Linear, exact: torch.nn.Linear
) -> list[float]:
    """Relative distances from float64: of outputs (ours, torch's) and of gradients likewise."""
    x, weights = torch.rand(SAMPLES, ours.in_features), torch.rand(SAMPLES, ours.out_features)
    results = []
    for layer in (ours, theirs, exact):
        of = exact.weight.dtype if layer is exact else torch.float32
        y = layer(x.to(of))
        (gradient,) = torch.autograd.grad((weights.to(of) * y).sum(), layer.weight)
        results.append((y.detach().double(), gradient.double()))
    return [_relative(result[part], results[2][part]) for part in (0, 1) for result in results[:2]]


def _relative(value: Tensor, exact: Tensor) -> float:
    return float((value - exact).norm() / exact.norm())
