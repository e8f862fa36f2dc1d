"""What a harder problem costs beside a plain one: loss and gradient, at the same points.

    plain     Laplace's equation in a box, with Dirichlet and Neumann conditions
    annulus   div (k grad u) = 0 in a ring, k(x, y) = 1 + erf(x) / 2, with a Robin condition on the
              rim and another residual in the hole, u u_n = 0
    periodic  the same, of a network with a periodic embedding

The same network of 4 x 64, float64. Processor time in turns; medians, and their ratio to the first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bench.machine import describe, remark, use_threads
from pyneural import nn, pde

WIDTH, DEPTH = 64, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--points", type=int, default=4000, help="in the domain (%(default)s)")
    parser.add_argument("--rounds", type=int, default=21, help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")


def run(options: argparse.Namespace) -> int:
    use_threads(options.threads)
    machine = describe("cpu", options.threads)
    torch_version = machine["versions"]["torch"]
    print(f"conditions: {machine['cpu']}, {options.threads} threads, torch {torch_version}")
    if said := remark(machine):
        print(said)
    calls = problems(options.points)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(options.rounds + 1):
        for name, call in calls.items():
            began = time.process_time()
            call()
            if number:  # the first round records the residuals
                taken[name].append(time.process_time() - began)
    medians = {name: statistics.median(each) for name, each in taken.items()}
    for name, median in medians.items():
        print(f"{name:<12}{1e3 * median:>8.2f} ms{median / medians['plain']:>8.2f}x")
    return 0


def problems(points: int) -> dict[str, Callable[[], Tensor]]:
    """The loss of each problem, after its gradient."""
    torch.manual_seed(0)
    drawing = {"dtype": torch.float64, "generator": torch.Generator().manual_seed(0)}
    ring = pde.Disk(x=0, y=0, radius=2, name="rim") - pde.Disk(x=0, y=0, radius=1, name="hole")
    box, on_boundary = pde.Box(x=(-2, 2), y=(-2, 2)), points // 10
    x = ring.sample(points, **drawing)

    def k(x, y):
        return 1 + torch.erf(x) / 2

    plain = [
        pde.Operator(lambda u: u.xx + u.yy, x, inputs="xy"),
        pde.Dirichlet(box, 0.0, on_boundary, **drawing),
        pde.Neumann(box, 0.0, on_boundary, **drawing),
    ]
    harder = [
        pde.Operator(lambda u, x, y: (k(x, y) * u.x).x + (k(x, y) * u.y).y, x, inputs="xy"),
        pde.Operator(lambda u: u.n + 2 * (u - 1), on_boundary, domain=ring, part="rim", **drawing),
        pde.Operator(lambda u: u.n * u, on_boundary, domain=ring, part="hole", **drawing),
    ]
    network = nn.MLP(2, [WIDTH] * DEPTH, 1).double()
    embedding = nn.PeriodicEmbedding("xy", {"x": 4.0})
    periodic = torch.nn.Sequential(embedding, nn.MLP(3, [WIDTH] * DEPTH, 1).double())

    def call(conditions: Sequence[pde.Condition], network: torch.nn.Module) -> Tensor:
        loss = torch.stack([condition.loss(network) for condition in conditions]).sum()
        network.zero_grad()
        loss.backward()
        return loss.detach()

    return {
        "plain": lambda: call(plain, network),
        "annulus": lambda: call(harder, network),
        "periodic": lambda: call(harder, periodic),
    }
