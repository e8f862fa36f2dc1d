"""A sparsely connected network.

Each hidden layer has a fixed mask of its edges; the last layer is dense.
Counts the trainable parameters, trains, shows that absent edges get no
gradient and stay absent, and compares time and memory of a layer of
1024 x 1024 with a dense one; writes sparse.png.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor

from pyneural import nn, optim, plots
from pyneural.demos._options import counted, print_row, whole
from pyneural.models import SparseNetwork
from pyneural.progress import progress
from pyneural.training.losses import quadratic_cost

SYSTEMS = ("S04",)
SUMMARY = "A sparsely connected network and a dense one."
NEXT = "pyneural demo networks: more kinds of networks, and their costs"
QUICK = ("--steps", "30")
WIDTHS, SPARSITY = (3, 5, 5, 1), 0.6
SIZE, BATCH, RUNS = 1024, 256, 9
SPARSITIES = (0.5, 0.75, 0.9, 0.95, 0.99)
OPTIONS = {"--steps": whole("steps of training", 200, low=1)}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    generator = torch.Generator().manual_seed(args.seed)
    drawn = SparseNetwork(WIDTHS, SPARSITY, generator=generator)
    network = SparseNetwork((20, 16, 24, 1), 0.75, generator=generator)
    x = torch.randn(BATCH, 20)
    dense_cost = _cost(nn.Linear(SIZE, SIZE, activation="tanh"))
    layers = (
        nn.MaskedLinear(nn.random_mask(SIZE, SIZE, sparsity, generator), activation="tanh")
        for sparsity in SPARSITIES
    )
    costs = [_cost(layer) for layer in progress("measuring", layers, len(SPARSITIES))]

    masked = network.masked_layers()[1]
    start, present = masked.weight.detach(), masked.mask
    target = torch.sin(x[:, :1] + x[:, 1:2])
    optimizer = optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(args.steps):
        optimizer.zero_grad()
        quadratic_cost(network(x), target).sum().backward()
        optimizer.step()
    slopes = torch.autograd.grad(quadratic_cost(network(x), target).sum(), masked.values)[0]
    gradient = torch.zeros_like(start).masked_scatter(present, slopes)
    change = (masked.weight.detach() - start).abs()

    print("Sparsely connected network, the last layer dense\n")
    trainable = sum(parameter.numel() for parameter in network.parameters())
    absent = sum(int((~layer.mask).sum()) for layer in network.masked_layers())
    print_row("network", "20-16-24-1, 75 % of the edges of the first two layers absent")
    print_row("trainable", f"{trainable} of {trainable + absent} weights and biases")
    print_row("training", counted(args.steps, "step"))
    steepest, at_absent = f"{slopes.abs().max():.1e}", f"{change[~present].max():.1f}"
    print_row("  gradient", f"{steepest} at most for {len(slopes)} weights; absent edges have none")
    print_row(
        "  change", f"{at_absent} at most at absent edges, {change.max():.1e} at present ones"
    )
    print(f"\n  {SIZE} x {SIZE}, batch {BATCH}, forward and backward\n")
    names = ("dense", *(f"{sparsity:.0%} absent" for sparsity in SPARSITIES))
    for name, (seconds, size) in zip(names, (dense_cost, *costs), strict=True):
        print(f"  {name:<14}{1e3 * seconds:7.2f} ms{size / 2**20:9.2f} MiB")
    print()
    parts: list[nn.MaskedLinear | nn.Linear] = [*drawn.masked_layers(), drawn.last]
    return plots.sparsity(
        [layer.weight.detach() for layer in parts],
        [layer.bias for layer in parts if layer.bias is not None],
        [*(layer.mask for layer in drawn.masked_layers()), None],
        gradient,
        present,
        SPARSITIES,
        [seconds / dense_cost[0] for seconds, _ in costs],
        [size / dense_cost[1] for _, size in costs],
        title=f"{SIZE} x {SIZE}, forward and backward",
    )


def _cost(layer: torch.nn.Module) -> tuple[float, int]:
    """Median time in s of forward and backward; bytes of the layer and of its saved tensors."""
    x = torch.randn(BATCH, SIZE, requires_grad=True)
    tensors = [*layer.parameters(), *layer.buffers()]
    saved = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        layer(x).sum().backward()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        layer(x).sum().backward()
        times.append(time.perf_counter() - start)
    return statistics.median(times), sum(storage.nbytes() for storage in saved.values())
