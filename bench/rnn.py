"""Recurrent layers: pyneural beside torch, which runs an LSTM by oneDNN on the CPU, cuDNN on a GPU.

    y, h_n of x [T, N, I] and H units, forward, and forward with the gradients of x and the weights

Both are layers of the same weights, first compared with float64 torch on fresh random inputs: y
and every gradient.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.comparison import Comparison, compared, run_bench
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from pyneural import nn

CASES = ("64x100x32x64", "32x100x128x256", "1x1000x16x32", "16x512x64x512")
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
# Rounding grows from step to step. In halves torch's own layers reach a fifth of it on the CPU.
TOLERANCE = {
    torch.float32: 1e-3,
    torch.float64: 1e-10,
    torch.bfloat16: 5e-2,
    torch.float16: 1e-2,
}
DTYPES = tuple(str(dtype).removeprefix("torch.") for dtype in TOLERANCE)


@dataclass(frozen=True)
class Case:
    """Rows, steps, inputs and hidden units of a layer, and which one it is."""

    rows: int
    steps: int
    inputs: int
    hidden: int
    layer: str

    @staticmethod
    def parse(text: str) -> list[Case]:
        """All layers of ROWSxSTEPSxINPUTSxHIDDEN, or the one of ...:LAYER.

        >>> Case.parse("64x100x32x64:GRU")
        [Case(rows=64, steps=100, inputs=32, hidden=64, layer='GRU')]
        """
        try:
            shape, _, layer = text.partition(":")
            sizes = [int(part) for part in shape.split("x")]
            if len(sizes) != 4 or min(sizes) < 1 or layer not in ("", *GATES):
                raise ValueError
        except ValueError:
            raise ValueError(
                f"case: expected ROWSxSTEPSxINPUTSxHIDDEN[:LAYER] with one of {', '.join(GATES)}, "
                f"got {text!r}; for instance {CASES[0]}:GRU"
            ) from None
        return [Case(*sizes, name) for name in ([layer] if layer else GATES)]

    @property
    def title(self) -> str:
        return (
            f"{self.layer}, {self.rows} rows of {self.steps:,} steps, "
            f"{self.inputs} inputs, {self.hidden} units"
        )


@dataclass(frozen=True)
class Problem:
    """One case: x [T, N, I], grad_y [T, N, H] and the weights."""

    case: Case
    backward: bool
    x: Tensor
    grad_y: Tensor
    weights: dict[str, Tensor]

    @staticmethod
    def random(case: Case, backward: bool, dtype: torch.dtype, device: str, seed: int) -> Problem:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)

        gates, scale = GATES[case.layer] * case.hidden, case.hidden**-0.5
        weights = {
            "weight_ih_l0": scale * normal(gates, case.inputs),
            "weight_hh_l0": scale * normal(gates, case.hidden),
            "bias_ih_l0": scale * normal(gates),
            "bias_hh_l0": scale * normal(gates),
        }
        x = normal(case.steps, case.rows, case.inputs).requires_grad_()
        grad_y = normal(case.steps, case.rows, case.hidden)
        return Problem(case, backward, x, grad_y, weights)

    def double(self) -> Problem:
        """The same numbers in float64 on the CPU, for the oracle."""
        weights = {name: weight.double().cpu() for name, weight in self.weights.items()}
        x = self.x.detach().double().cpu().requires_grad_()
        return Problem(self.case, self.backward, x, self.grad_y.double().cpu(), weights)

    def operations(self) -> int:
        """Of the products: two a multiply-add, three times as many with the backward."""
        case = self.case
        weights = GATES[case.layer] * case.hidden * (case.inputs + case.hidden)
        return 2 * case.rows * case.steps * weights * (3 if self.backward else 1)


def build(layers: Any, problem: Problem) -> Callable[[], list[Tensor]]:
    """A call of the layer of that name in ``layers``."""
    case, x = problem.case, problem.x
    layer = getattr(layers, case.layer)(case.inputs, case.hidden, device=x.device, dtype=x.dtype)
    layer.load_state_dict(problem.weights)

    def forward() -> list[Tensor]:
        with torch.no_grad():
            return [layer(x)[0]]

    def both() -> list[Tensor]:
        y, _ = layer(x)
        return [y, *torch.autograd.grad(y, [x, *layer.parameters()], problem.grad_y)]

    return both if problem.backward else forward


OURS = Implementation("pyneural", "pyneural", partial(build, nn))
TORCH = Implementation("torch", "torch", partial(build, torch.nn))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", default=CASES, metavar="NxTxIxH[:LAYER]")
    add_common_arguments(parser, [TORCH.group], dtypes=DTYPES)


def run(options: argparse.Namespace) -> int:
    return run_bench(
        "rnn",
        "recurrent layers",
        options,
        lambda: [case for text in options.case for case in Case.parse(text)],
        bench_case,
        counting="the products",
    )


def bench_case(case: Case, backward: bool, comparison: Comparison) -> tuple[dict[str, Any], bool]:
    """The figures of one case, and whether ours agree with the oracle."""
    options, dtype = comparison.options, comparison.dtype
    problem = Problem.random(case, backward, dtype, options.device, options.seed)
    oracle = build(torch.nn, problem.double())()
    return compared(comparison, problem, [OURS, TORCH], oracle, TOLERANCE[dtype])
