"""A whole multilayer perceptron in one call: pyneural, torch eager, torch.compile.

    a_0 = x,  a_l = f(W_l a_(l-1) + b_l) for l < L,  y = W_L a_(L-1) + b_L, forward, and forward
    with the gradients of x and of all W and b

Each implementation is first compared with float64 torch on fresh random inputs: y and every
gradient. In bfloat16 and float16 there are networks wider than 128, which go layer by layer.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.comparison import Comparison, compared, run_bench
from bench.comparison import add_arguments as add_common_arguments
from bench.dense import ACTIVATIONS, DTYPES
from bench.harness import Implementation
from pyneural import ops

WIDE = ("8192:2-256-256-256-256-1:tanh", "4096:512-512-512-512:gelu")
CASES = (
    "10000:2-20-20-20-20-20-20-20-20-1:tanh",
    "10000:2-64-64-64-64-1:tanh",
    "100:784-128-64-128-784:relu",
    *WIDE,
)
# Of several layers one after the other, hence looser than one in bench.dense.
TOLERANCE = {
    torch.float32: 1e-4,
    torch.float64: 1e-11,
    torch.bfloat16: 5e-2,
    torch.float16: 1e-2,
}


@dataclass(frozen=True)
class Case:
    """Rows of x, the widths from inputs to outputs, and the activation of the hidden layers."""

    batch: int
    widths: tuple[int, ...]
    activation: str

    @staticmethod
    def parse(text: str) -> Case:
        """From ROWS:INPUTS-WIDTH-...-OUTPUTS:ACTIVATION.

        >>> Case.parse("10:2-64-1:tanh")
        Case(batch=10, widths=(2, 64, 1), activation='tanh')
        """
        try:
            rows, network, activation = text.split(":")
            widths = tuple(int(part) for part in network.split("-"))
            good = min(int(rows), *widths) >= 1 and len(widths) >= 2
            if not good or activation not in ACTIVATIONS:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"case: expected ROWS:INPUTS-WIDTH-...-OUTPUTS:ACTIVATION with one of "
                f"{', '.join(ACTIVATIONS)}, got {text!r}; for instance {CASES[1]}"
            ) from None
        return Case(int(rows), widths, activation)

    @property
    def title(self) -> str:
        return f"{self.batch:,} rows, {'-'.join(map(str, self.widths))}, {self.activation}"


@dataclass(frozen=True)
class Problem:
    """One case: x [N, I], L weights [out_l, in_l] and biases [out_l], grad_y [N, O]."""

    case: Case
    backward: bool
    x: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    grad_y: Tensor

    @staticmethod
    def random(case: Case, backward: bool, dtype: torch.dtype, device: str, seed: int) -> Problem:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, scale: float = 1.0) -> Tensor:
            values = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
            return values.to(device, dtype).requires_grad_()

        layers = list(pairwise(case.widths))
        x = normal(case.batch, case.widths[0])
        weights = [normal(out, into, scale=into**-0.5) for into, out in layers]
        biases = [normal(out) for _, out in layers]
        grad_y = normal(case.batch, case.widths[-1]).detach()
        return Problem(case, backward, x, weights, biases, grad_y)

    def double(self) -> Problem:
        """The same numbers in float64 on the CPU, for the oracle."""

        def lifted(tensor: Tensor) -> Tensor:
            return tensor.detach().double().cpu().requires_grad_()

        return replace(
            self,
            x=lifted(self.x),
            weights=[lifted(weight) for weight in self.weights],
            biases=[lifted(bias) for bias in self.biases],
            grad_y=self.grad_y.double().cpu(),
        )

    def operations(self) -> int:
        """Two a multiply-add, three products with the backward."""
        edges = sum(into * out for into, out in pairwise(self.case.widths))
        return 2 * self.case.batch * edges * (3 if self.backward else 1)


def build(network: Callable[..., Tensor], problem: Problem) -> Callable[[], list[Tensor]]:
    """A call of network(x, weights, biases), with gradients if wanted."""
    arguments = problem.x, problem.weights, problem.biases

    def forward() -> list[Tensor]:
        with torch.no_grad():
            return [network(*arguments)]

    def both() -> list[Tensor]:
        y = network(*arguments)
        leaves = [problem.x, *problem.weights, *problem.biases]
        return [y, *torch.autograd.grad(y, leaves, problem.grad_y)]

    return both if problem.backward else forward


def build_pyneural(problem: Problem) -> Callable[[], list[Tensor]]:
    activation = problem.case.activation
    return build(lambda x, weights, biases: ops.mlp(x, weights, biases, activation), problem)


def build_torch(compiled: bool, problem: Problem) -> Callable[[], list[Tensor]]:
    activation = ACTIVATIONS[problem.case.activation]

    def network(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = activation(F.linear(x, weight, bias))
        return F.linear(x, weights[-1], biases[-1])

    if compiled:
        return build(torch.compile(network, fullgraph=True, dynamic=False), problem)
    return build(network, problem)


OURS = Implementation("pyneural", "pyneural", build_pyneural)
PEERS = [
    Implementation("torch eager", "eager", partial(build_torch, False)),
    Implementation("torch.compile", "compile", partial(build_torch, True), compiles=True),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--case",
        nargs="+",
        metavar="N:I-H-...-O:ACTIVATION",
        help=f"default: {' '.join(CASES)}, in bfloat16 and float16 {' '.join(WIDE)}",
    )
    add_common_arguments(parser, [peer.group for peer in PEERS], DTYPES)


def run(options: argparse.Namespace) -> int:
    default = WIDE if options.dtype in ("bfloat16", "float16") else CASES
    return run_bench(
        "mlp",
        "multilayer perceptron",
        options,
        lambda: [Case.parse(text) for text in options.case or default],
        bench_case,
        counting="the products",
    )


def bench_case(case: Case, backward: bool, comparison: Comparison) -> tuple[dict[str, Any], bool]:
    """The figures of one case, and whether ours agree with the oracle."""
    dtype = comparison.dtype
    problem = Problem.random(
        case, backward, dtype, comparison.options.device, comparison.options.seed
    )
    oracle = build_torch(False, problem.double())()
    return compared(comparison, problem, [OURS, *PEERS], oracle, TOLERANCE[dtype])
