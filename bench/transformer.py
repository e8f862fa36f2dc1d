"""Training a transformer: a step of 6 + 6 layers, 128 wide, on 64 pairs of 32 tokens.

    8 heads, 512 units between, post-norm, mean squared error, Adam

A step is forward, loss, backward and the optimiser's change of the weights; loss and gradients are
first compared with float64 torch, without dropout. Then it is timed without and with dropout.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.comparison import Comparison, timed_rows, validated
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from pyneural import nn

# float32: a relu whose argument rounds to the other side of 0 makes 7e-4 of a gradient.
TOLERANCE = {torch.float32: 5e-3, torch.float64: 1e-9}
LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Shape:
    """Width d, layers of encoder and of decoder, heads, units between, sequences and tokens."""

    width: int = 128
    layers: int = 6
    heads: int = 8
    hidden: int = 512
    sequences: int = 64
    tokens: int = 32

    def operations(self) -> int:
        """Of the products of forward and backward: two a multiply-add."""
        d, tokens = self.width, self.sequences * self.tokens
        edges = 3 * 4 * d * d + 2 * 2 * d * self.hidden  # three attentions, two feedforward parts
        scores = 3 * 2 * self.tokens * d
        return 3 * 2 * tokens * self.layers * (edges + scores)

    def network(self, layers: Any, dropout: float) -> torch.nn.Module:
        """The ``Transformer`` of the package ``layers``."""
        return layers.Transformer(
            self.width, self.heads, self.layers, self.layers, self.hidden, dropout, batch_first=True
        )


@dataclass(frozen=True)
class Step:
    """A training step: what goes into encoder and decoder, the target, and where weights start."""

    shape: Shape
    dropout: float
    source: Tensor
    target: Tensor
    expected: Tensor
    weights: dict[str, Tensor]

    @staticmethod
    def random(shape: Shape, dropout: float, dtype: torch.dtype, device: str, seed: int) -> Step:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            weights = {
                name: weight.detach().to(device, dtype)
                for name, weight in shape.network(torch.nn, 0.0).state_dict().items()
            }
            size = shape.sequences, shape.tokens, shape.width
            inputs = [torch.randn(size, dtype=torch.float64).to(device, dtype) for _ in range(3)]
        return Step(shape, dropout, *inputs, weights)

    def double(self) -> Step:
        """The same numbers in float64 on the CPU, for the oracle."""
        inputs = (t.double().cpu() for t in (self.source, self.target, self.expected))
        weights = {name: weight.double().cpu() for name, weight in self.weights.items()}
        return Step(self.shape, self.dropout, *inputs, weights)

    def operations(self) -> int:
        return self.shape.operations()


def build(layers: Any, step: Step, compiled: bool = False, **options: Any) -> Callable[[], Any]:
    """Makes a step with the layers of that package; gives loss and gradients."""
    network = step.shape.network(layers, step.dropout).to(step.source)
    network.load_state_dict(step.weights)
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, **options)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(
        step.shape.tokens, step.source.device, step.source.dtype
    )

    def loss_of(source: Tensor, target: Tensor, expected: Tensor) -> Tensor:
        return F.mse_loss(network(source, target, tgt_mask=mask, tgt_is_causal=True), expected)

    chosen = torch.compile(loss_of, dynamic=False) if compiled else loss_of

    def call() -> list[Tensor | None]:
        optimizer.zero_grad()
        loss = chosen(step.source, step.target, step.expected)
        loss.backward()
        optimizer.step()
        return [loss, *(parameter.grad for parameter in parameters)]

    return call


OURS = Implementation("pyneural", "pyneural", partial(build, nn, fused=True))
PEERS = [
    Implementation("torch eager", "eager", partial(build, torch.nn)),
    Implementation("torch eager, fused optimiser", "eager", partial(build, torch.nn, fused=True)),
    Implementation(
        "torch.compile, fused optimiser",
        "compile",
        partial(build, torch.nn, compiled=True, fused=True),
        compiles=True,
    ),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dropout", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--layers", type=int, default=Shape.layers, help="of each (%(default)s)")
    add_common_arguments(parser, ["eager", "compile"])


def run(options: argparse.Namespace) -> int:
    shape = Shape(layers=options.layers)
    try:
        comparison = Comparison("transformer", "training the transformer", options)
    except ValueError as error:
        print(f"bench transformer: {error}")
        return 2
    print("peak: share of the multiply-add probe, counting the products")
    passed = True
    for dropout in options.dropout:
        entry, right = bench_step(shape, dropout, comparison)
        comparison.entry["cases"].append({"dropout": dropout, **entry})
        comparison.keep()
        passed &= right
    if comparison.path:
        print(f"kept in {comparison.path}")
    return 0 if passed else 1


def bench_step(shape: Shape, dropout: float, comparison: Comparison) -> tuple[dict[str, Any], bool]:
    """The figures of one dropout, and whether ours agree with the oracle."""
    print(f"\na step of {shape.layers} + {shape.layers} layers, dropout {dropout:g}", flush=True)
    options = comparison.options
    step = Step.random(shape, 0.0, comparison.dtype, options.device, options.seed)
    chosen = comparison.chosen([OURS, *PEERS])
    oracle = [tensor.clone() for tensor in build(torch.nn, step.double())()]
    calls, errors, absent = validated(step, chosen, oracle, TOLERANCE[comparison.dtype])
    if dropout:
        dropped = replace(step, dropout=dropout)
        calls = {i.name: i.build(dropped) for i in chosen if i.name in calls}
    return timed_rows(comparison, step, chosen, calls, errors, absent)
