"""The dense layer and the sparsely connected one: pyneural, torch eager, torch.compile.

    y = f(x W^T + b), forward, and forward with the gradients of x, W and b

Each implementation is first compared with float64 torch on fresh random inputs: y and every
gradient.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.comparison import Comparison, compared, run_bench, timed_rows, validated
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from pyneural import ops

CASES = (
    "4096x512x512:linear",
    "10000x64x64:tanh",
    "1024x784x256:gelu",
    "100x784x128:relu",
    "1x64x64:tanh",
    "1000x1024x1024:relu:0.9",
)
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z,
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
}
TOLERANCE = {
    torch.float32: 1e-4,
    torch.float64: 1e-11,
    torch.bfloat16: 2e-2,
    torch.float16: 3e-3,
}
DTYPES = tuple(str(dtype).removeprefix("torch.") for dtype in TOLERANCE)
SPARSE_DTYPES = torch.float32, torch.float64  # of masked_dense


@dataclass(frozen=True)
class Case:
    """Rows of x, inputs and outputs of a layer, its activation, and the share of absent edges."""

    batch: int
    inputs: int
    outputs: int
    activation: str
    sparsity: float

    @staticmethod
    def parse(text: str) -> Case:
        """From ROWSxINPUTSxOUTPUTS:ACTIVATION and, for a mask, :SPARSITY.

        >>> Case.parse("100x784x128:relu")
        Case(batch=100, inputs=784, outputs=128, activation='relu', sparsity=0.0)
        """
        try:
            shape, activation, *rest = text.split(":")
            rows, inputs, outputs = (int(part) for part in shape.split("x"))
            sparsity = float(rest[0]) if rest else 0.0
            good = min(rows, inputs, outputs) >= 1 and len(rest) <= 1 and 0 <= sparsity < 1
            if not good or activation not in ACTIVATIONS:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"case: expected ROWSxINPUTSxOUTPUTS:ACTIVATION[:SPARSITY] with one of "
                f"{', '.join(ACTIVATIONS)}, got {text!r}; for instance {CASES[1]}"
            ) from None
        return Case(rows, inputs, outputs, activation, sparsity)

    @property
    def title(self) -> str:
        shape = f"{self.batch:,} x {self.inputs} x {self.outputs}, {self.activation}"
        return f"{shape}, {self.sparsity:.0%} of the edges absent" if self.sparsity else shape


@dataclass(frozen=True)
class Problem:
    """One case: x [N, I], weight [O, I] that is zero off the mask, bias [O], grad_y [N, O]."""

    case: Case
    backward: bool
    x: Tensor
    weight: Tensor
    bias: Tensor
    grad_y: Tensor
    mask: Tensor

    @staticmethod
    def random(case: Case, backward: bool, dtype: torch.dtype, device: str, seed: int) -> Problem:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        mask = torch.rand(case.outputs, case.inputs, generator=generator) >= case.sparsity
        weight = normal(case.outputs, case.inputs) * mask * case.inputs**-0.5
        tensors = normal(case.batch, case.inputs), weight, normal(case.outputs)
        x, weight, bias = (t.to(device, dtype).requires_grad_() for t in tensors)
        grad_y = normal(case.batch, case.outputs).to(device, dtype)
        return Problem(case, backward, x, weight, bias, grad_y, mask.to(device))

    def double(self) -> Problem:
        """The same numbers in float64 on the CPU, for the oracle."""
        parts = self.x, self.weight, self.bias
        lifted = (part.detach().double().cpu().requires_grad_() for part in parts)
        grad_y = self.grad_y.double().cpu()
        return Problem(self.case, self.backward, *lifted, grad_y, self.mask.cpu())

    def operations(self) -> int:
        """Of the present edges: two a multiply-add, three products with the backward."""
        edges = int(self.mask.sum())
        return 2 * self.case.batch * edges * (3 if self.backward else 1)

    def call(self, layer: Callable[..., Tensor], weight: Tensor) -> Callable[[], list[Tensor]]:
        """A call of layer(x, weight, bias), with gradients if wanted; those of present edges."""
        if not self.backward:

            def forward() -> list[Tensor]:
                with torch.no_grad():
                    return [layer(self.x, weight, self.bias)]

            return forward

        def both() -> list[Tensor]:
            leaves = self.x, weight, self.bias
            y = layer(*leaves)
            return [y, *torch.autograd.grad(y, leaves, self.grad_y)]

        return both


def torch_layer(case: Case, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return ACTIVATIONS[case.activation](F.linear(x, weight, bias))


def build_torch(compiled: bool, problem: Problem) -> Callable[[], Any]:
    layer: Callable[..., Tensor] = partial(torch_layer, problem.case)
    if compiled:
        layer = torch.compile(layer, fullgraph=True, dynamic=False)
    return problem.call(layer, problem.weight)


def build_dense(problem: Problem) -> Callable[[], Any]:
    activation = problem.case.activation
    return problem.call(lambda x, w, b: ops.dense(x, w, b, activation), problem.weight)


def build_masked(problem: Problem) -> Callable[[], Any]:
    pattern = ops.SparsityPattern.from_mask(problem.mask)
    values = problem.weight.detach()[problem.mask].requires_grad_()
    activation = problem.case.activation
    return problem.call(lambda x, v, b: ops.masked_dense(x, v, pattern, b, activation), values)


DENSE = Implementation("pyneural, dense", "pyneural", build_dense)
MASKED = Implementation("pyneural, masked_dense", "pyneural", build_masked)
PEERS = [
    Implementation("torch eager", "eager", partial(build_torch, False)),
    Implementation("torch.compile", "compile", partial(build_torch, True), compiles=True),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--case",
        nargs="+",
        metavar="NxIxO:ACTIVATION[:SPARSITY]",
        help=f"default: {' '.join(CASES)}, in bfloat16 and float16 without the sparse ones",
    )
    add_common_arguments(parser, [peer.group for peer in PEERS], DTYPES)


def cases(wished: Sequence[str] | None, dtype: torch.dtype) -> list[Case]:
    """Those wished, or the default ones that there are in a dtype.

    Raises:
        ValueError: a text that is no case, or a sparse one in a dtype that masked_dense lacks.
    """
    found = [Case.parse(text) for text in wished or CASES]
    if dtype in SPARSE_DTYPES:
        return found
    dense = [case for case in found if not case.sparsity]
    if wished and len(dense) < len(found):
        raise ValueError(
            f"case: expected float32 or float64 where edges are absent, got {dtype}; leave out "
            ":SPARSITY"
        )
    return dense


def run(options: argparse.Namespace) -> int:
    return run_bench(
        "dense",
        "dense layer",
        options,
        lambda: cases(options.case, getattr(torch, options.dtype)),
        bench_case,
        counting="the products over present edges",
    )


def bench_case(case: Case, backward: bool, comparison: Comparison) -> tuple[dict[str, Any], bool]:
    """The figures of one case, and whether ours agree with the oracle."""
    options, limit = comparison.options, TOLERANCE[comparison.dtype]
    problem = Problem.random(case, backward, comparison.dtype, options.device, options.seed)
    oracle = build_torch(False, problem.double())()
    if not case.sparsity:
        return compared(comparison, problem, [DENSE, *PEERS], oracle, limit)
    # The gradient of the sparse layer's weight is that of the present edges.
    present = [*oracle[:2], *(grad[problem.mask.cpu()] for grad in oracle[2:3]), *oracle[3:]]
    chosen = comparison.chosen([MASKED, DENSE, *PEERS])
    found = validated(problem, chosen[:1], present, limit)
    for part, more in zip(found, validated(problem, chosen[1:], oracle, limit), strict=True):
        part.update(more)
    return timed_rows(comparison, problem, chosen, *found)
