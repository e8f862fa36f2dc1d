"""Training denoisers of diffusion models: a step, beside the same network of torch's layers.

    MLP           7 columns, 3 x 128 units
    U-Net         8 x 8 and 28 x 28 pixels, 32 channels at the full size, attention at the lowest
    attention     of a U-Net alone: norm, four heads between the pixels of 64 channels, sum
    transformer   8 x 8 pixels in patches of 2 x 2, 28 x 28 in patches of 4 x 4; 4 layers, 128 wide

A step is the mean square error of a batch, its gradient, and the change of the weights by Adam;
loss and gradients are first compared with float64. Convolutions and norms over groups are torch's
in both networks: the share of the time that convolutions take is what no layer of ours can change.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench.comparison import Comparison, timed_rows, validated
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from bench.peers.torch_layers import of_torch
from pyneural.models import MLPDenoiser, TransformerDenoiser, UNetDenoiser
from pyneural.models.diffusion.unet import PixelAttention

TOLERANCE = {torch.float32: 5e-3, torch.float64: 1e-8}  # gradients of many layers
LEARNING_RATE = 1e-4
CONVOLUTIONS = ("aten::convolution", "aten::convolution_backward")
PROFILED = 10  # steps


@dataclass(frozen=True)
class Case:
    """A network, the shape of a sample, and the number of them."""

    title: str
    make: Callable[[], torch.nn.Module]
    shape: tuple[int, ...]
    rows: int
    timed: bool = True  # whether it takes times


CASES = {
    "mlp": Case("MLP, 7 columns", partial(MLPDenoiser, 7), (7,), 1024),
    "unet8": Case("U-Net, 8 x 8", partial(UNetDenoiser, (1, 8, 8)), (1, 8, 8), 64),
    "unet28": Case(
        "U-Net, 28 x 28", partial(UNetDenoiser, (1, 28, 28), 32, (1, 2, 2)), (1, 28, 28), 32
    ),
    "attention": Case(
        "attention of a U-Net, 64 x 16 x 16", partial(PixelAttention, 64, 4), (64, 16, 16), 32,
        timed=False,
    ),
    "transformer8": Case(
        "transformer, 8 x 8", partial(TransformerDenoiser, (1, 8, 8)), (1, 8, 8), 64
    ),
    "transformer28": Case(
        "transformer, 28 x 28", partial(TransformerDenoiser, (1, 28, 28), 4), (1, 28, 28), 64
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """A network with its weights, a batch x and what it is to say of it, and times."""

    network: torch.nn.Module
    x: Tensor
    target: Tensor
    t: tuple[Tensor, ...]

    @staticmethod
    def random(case: Case, dtype: torch.dtype, device: str, seed: int) -> Problem:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = case.make()
            for weight in network.parameters():
                if not weight.any():  # else the layers before would have no gradient
                    weight.data.normal_(std=0.1)
            x, target = torch.randn(2, case.rows, *case.shape, dtype=torch.float64).to(
                device, dtype
            )
            t = torch.rand(case.rows, dtype=torch.float64).to(device, dtype)
        return Problem(network.to(device, dtype), x, target, (t,) * case.timed)

    def double(self) -> Problem:
        """The same numbers in float64 on the CPU, for the oracle."""
        x, target, *t = (part.double().cpu() for part in (self.x, self.target, *self.t))
        return Problem(of_torch(self.network).double().cpu(), x, target, tuple(t))

    def operations(self) -> int:
        """Of the products of forward and backward: two a multiply-add."""
        network = of_torch(self.network)
        with FlopCounterMode(display=False) as counter:
            F.mse_loss(network(self.x, *self.t), self.target).backward()
        return counter.get_total_flops()


def build(
    layers: Callable[[torch.nn.Module], torch.nn.Module], problem: Problem, compiled: bool = False
) -> Callable[[], Any]:
    """Makes a step of ``layers(network)``; gives loss and gradients."""
    network = layers(problem.network)
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, fused=True)

    def loss_of(x: Tensor, *t: Tensor) -> Tensor:
        return F.mse_loss(network(x, *t), problem.target)

    chosen = torch.compile(loss_of, dynamic=False) if compiled else loss_of

    def call() -> list[Tensor | None]:
        optimizer.zero_grad()
        loss = chosen(problem.x, *problem.t)
        loss.backward()
        optimizer.step()
        return [loss, *(parameter.grad for parameter in parameters)]

    return call


OURS = Implementation("pyneural", "pyneural", partial(build, copy.deepcopy))
PEERS = [
    Implementation("torch eager", "eager", partial(build, of_torch)),
    Implementation(
        "torch.compile", "compile", partial(build, of_torch, compiled=True), compiles=True
    ),
]


def convolution_share(call: Callable[[], Any]) -> float:
    """Share of the time of a call in torch's convolutions, forward and backward."""
    call()
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        for _ in range(PROFILED):
            call()
    events = measured.key_averages()
    whole = sum(event.self_cpu_time_total for event in events)
    return sum(event.cpu_time_total for event in events if event.key in CONVOLUTIONS) / whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    add_common_arguments(parser, ["eager", "compile"])


def run(options: argparse.Namespace) -> int:
    try:
        comparison = Comparison("denoisers", "training denoisers", options)
    except ValueError as error:
        print(f"bench denoisers: {error}")
        return 2
    print("peak: share of the multiply-add probe, counting products and convolutions")
    passed = True
    for name in options.case:
        entry, right = bench_case(CASES[name], comparison)
        comparison.entry["cases"].append({"case": name, **entry})
        comparison.keep()
        passed &= right
    if comparison.path:
        print(f"kept in {comparison.path}")
    return 0 if passed else 1


def bench_case(case: Case, comparison: Comparison) -> tuple[dict[str, Any], bool]:
    """The figures of one network, and whether ours agree with the oracle."""
    print(f"\n{case.title}, a step of {case.rows} samples", flush=True)
    options = comparison.options
    problem = Problem.random(case, comparison.dtype, options.device, options.seed)
    oracle = [t.clone() for t in build(of_torch, problem.double())() if t is not None]
    chosen = comparison.chosen([OURS, *PEERS])
    found = validated(problem, chosen, oracle, TOLERANCE[comparison.dtype])
    entry, right = timed_rows(comparison, problem, chosen, *found)
    convolutions = any(isinstance(m, torch.nn.Conv2d) for m in problem.network.modules())
    if convolutions and options.device == "cpu":
        calls = {name: call for name, call in found[0].items() if name != PEERS[1].name}
        shares = {name: convolution_share(call) for name, call in calls.items()}
        entry["convolution_share"] = shares
        text = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        print(f"share of torch's convolutions: {text}")
    return entry, right
