"""Perceptron and multilayer perceptron: forward and backward.

    a_0 = x,  a_l = f(a_(l-1) W_l^T + b_l),  y = a_L

Compares a network with two hidden layers with the same network in plain torch,
and its gradient from the equations of backpropagation with torch's autograd
and with finite differences of the cost. Prints the layers and the differences;
writes mlp.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos._options import print_row
from pyneural.models import MultilayerPerceptron

SYSTEMS = ("S01",)
SUMMARY = "A multilayer perceptron, forward and backward."
NEXT = "pyneural demo approximation: what width and depth do"
WIDTHS, ACTIVATION, SAMPLES = (3, 4, 3, 1), "sigmoid", 20
STEPS = [10 ** (-k / 2) for k in range(2, 21)]  # 1e-1 to 1e-10


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    network = MultilayerPerceptron(WIDTHS, ACTIVATION).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(SAMPLES, WIDTHS[0], dtype=torch.float64)
    y = torch.rand(SAMPLES, WIDTHS[-1], dtype=torch.float64)
    parameters = list(network.parameters())
    values = [parameter.detach() for parameter in parameters]
    weights, biases = values[::2], values[1::2]
    print(f"Multilayer perceptron {'-'.join(map(str, WIDTHS))}, {ACTIVATION}\n")
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True), 1):
        shape = f"weights {weight.shape[0]} x {weight.shape[1]}, biases {len(bias)}"
        print_row(f"layer {i}", f"{shape}: {weight.numel() + len(bias)} parameters")
    print_row("in all", f"{sum(value.numel() for value in values)} parameters")
    print()

    plain = x
    for weight, bias in zip(weights, biases, strict=True):
        plain = torch.sigmoid(plain @ weight.T + bias)
    gradient = network.backpropagate(x, y)
    autograd = _distance(gradient, torch.autograd.grad(network.cost(x, y), parameters))
    differences = [
        _distance(gradient, finite_differences(lambda: network.cost(x, y), parameters, step))
        for step in STEPS
    ]
    best = min(range(len(STEPS)), key=differences.__getitem__)
    print_row("cost", f"{network.cost(x, y).item():.6f} over {SAMPLES} samples")
    print_row("forward", f"{_distance([network(x)], [plain]):.1e} from plain torch")
    print_row("backward", f"{autograd:.1e} from torch's autograd")
    print_row("", f"{differences[best]:.1e} from finite differences, step {STEPS[best]:.0e}")
    return plots.backpropagation(weights, biases, STEPS, differences, autograd)


@torch.no_grad()
def finite_differences(
    loss: Callable[[], Tensor], parameters: Iterable[Tensor], step: float
) -> list[Tensor]:
    """Gradient of a loss with respect to each parameter, by central differences.

        dC/dw ~ (C(w + h) - C(w - h)) / (2 h)

    The error falls as h^2 until the rounding of C, divided by h, takes over.

    Args:
        loss: returns C at the present values of the parameters, [].
        parameters: varied in place and restored.
        step: h.

    Returns:
        one tensor for each parameter, of the same shape.

    >>> w = torch.tensor([3.0], dtype=torch.float64)
    >>> finite_differences(lambda: (w**2).sum(), [w], 1e-3)
    [tensor([6.0000], dtype=torch.float64)]
    """
    gradients = []
    for parameter in parameters:
        gradient = torch.empty_like(parameter)
        flat, slopes = parameter.view(-1), gradient.view(-1)
        for i, value in enumerate(flat.tolist()):
            flat[i] = value + step
            above = loss()
            flat[i] = value - step
            slopes[i] = (above - loss()) / (2 * step)
            flat[i] = value
        gradients.append(gradient)
    return gradients


def _distance(ours: Iterable[Tensor], others: Iterable[Tensor]) -> float:
    """Relative difference of two gradients, in the Euclidean norm."""
    a, b = (torch.cat([part.detach().flatten() for part in parts]) for parts in (ours, others))
    return float((a - b).norm() / b.norm())
