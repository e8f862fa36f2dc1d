"""The mean squared error: pyneural, torch eager, torch.compile.

    loss = 1/N sum_i (a_i - y_i)^2, forward, and forward with the gradient of a

Each implementation is first compared with float64 torch on fresh random inputs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.comparison import Comparison, compared, run_bench
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from pyneural import ops

CASES = (32, 100 * 784, 1 << 20, 1 << 23)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


@dataclass(frozen=True)
class Case:
    """So many elements."""

    elements: int

    def __post_init__(self) -> None:
        if self.elements < 1:
            raise ValueError(f"case: expected elements >= 1, got {self.elements}")

    @property
    def title(self) -> str:
        return f"{self.elements:,} elements"


@dataclass(frozen=True)
class Problem:
    """Prediction and target, [N] each."""

    backward: bool
    prediction: Tensor
    target: Tensor

    @staticmethod
    def random(case: Case, backward: bool, dtype: torch.dtype, device: str, seed: int) -> Problem:
        generator = torch.Generator().manual_seed(seed)
        prediction, target = (
            torch.randn(case.elements, generator=generator, dtype=torch.float64).to(device, dtype)
            for _ in range(2)
        )
        return Problem(backward, prediction.requires_grad_(), target)

    def double(self) -> Problem:
        """The same numbers in float64 on the CPU, for the oracle."""
        prediction = self.prediction.detach().double().cpu().requires_grad_()
        return Problem(self.backward, prediction, self.target.double().cpu())

    def operations(self) -> int:
        """A difference and a multiply-add of each element, and a difference and a product."""
        return self.target.numel() * (5 if self.backward else 3)

    def call(self, loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], list[Tensor]]:
        """A call of loss(prediction, target), with the gradient of the prediction if wanted."""
        if not self.backward:

            def forward() -> list[Tensor]:
                with torch.no_grad():
                    return [loss(self.prediction, self.target)]

            return forward

        def both() -> list[Tensor]:
            value = loss(self.prediction, self.target)
            return [value, *torch.autograd.grad(value, self.prediction)]

        return both


def build_torch(compiled: bool, problem: Problem) -> Callable[[], Any]:
    loss = torch.compile(F.mse_loss, fullgraph=True, dynamic=False) if compiled else F.mse_loss
    return problem.call(loss)


OURS = Implementation("pyneural", "pyneural", lambda problem: problem.call(ops.mse_loss))
PEERS = [
    Implementation("torch eager", "eager", partial(build_torch, False)),
    Implementation("torch.compile", "compile", partial(build_torch, True), compiles=True),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", type=int, default=CASES, metavar="ELEMENTS")
    add_common_arguments(parser, [peer.group for peer in PEERS])


def run(options: argparse.Namespace) -> int:
    return run_bench(
        "mse_loss",
        "mean squared error",
        options,
        lambda: [Case(elements) for elements in options.case],
        bench_case,
        counting="3 operations an element forward and 5 in all",
    )


def bench_case(case: Case, backward: bool, comparison: Comparison) -> tuple[dict[str, Any], bool]:
    """The figures of one case, and whether ours agree with the oracle."""
    options, limit = comparison.options, TOLERANCE[comparison.dtype]
    problem = Problem.random(case, backward, comparison.dtype, options.device, options.seed)
    oracle = build_torch(False, problem.double())()
    return compared(comparison, problem, [OURS, *PEERS], oracle, limit)
