"""The share of the multiply-add peak that dense, attention, rnn and jet reach, on one page.

Forward, and forward with gradients. The probe is timed in turns with each call. Operations are
those of the products alone, so that activations, a softmax or the packing of operands lower the
share. What the calls give is compared with torch by the benches of the single ops.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

import torch

from bench import attention, burgers, dense, rnn
from bench.comparison import Comparison
from bench.harness import Implementation, Summary
from bench.peers import jet_pyneural
from bench.report import table

DTYPES = ("float32", "float64")
DENSE = (
    "4096x512x512:linear",
    "1000x1024x1024:relu",
    "3000x640x384:gelu",
    "1024x784x256:gelu",
    "100x784x128:relu",
    "10000x64x64:tanh",
)
ATTENTION = tuple(f"1x8x1024x{width}:full" for width in (48, 64, 80, 96, 128))
RNN = tuple(f"32x100x{h // 2}x{h}:{layer}" for h in (256, 512) for layer in ("RNN", "GRU", "LSTM"))
JET = ("8x20", "4x64", "5x128", "4x256")


class Measured(NamedTuple):
    """A call and what it counts for."""

    op: str
    case: str
    backward: bool
    implementation: Implementation
    problem: Any
    operations: int


def all_measured(dtype: torch.dtype, seed: int) -> Iterator[Measured]:
    """All ops and cases, forward and with gradients; the residual of a jet with them alone."""
    ours: tuple[tuple[str, Any, tuple[str, ...], Implementation], ...] = (
        ("dense", dense, DENSE, dense.DENSE),
        ("attention", attention, ATTENTION, attention.OURS),
        ("rnn", rnn, RNN, rnn.OURS),
    )
    for op, module, cases, implementation in ours:
        for text in cases:
            parsed = module.Case.parse(text)
            case = parsed[0] if isinstance(parsed, list) else parsed
            for backward in (False, True):
                problem = module.Problem.random(case, backward, dtype, "cpu", seed)
                yield Measured(op, text, backward, implementation, problem, problem.operations())
    for text in JET:
        case = burgers.Case.parse(text, None)
        operations = case.operations(burgers.COLLAPSED_CHANNELS)
        problem = burgers.Problem.random(case, dtype, "cpu", seed)
        yield Measured("jet", text, True, jet_pyneural.IMPLEMENTATIONS[0], problem, operations)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--op", nargs="+", choices=("dense", "attention", "rnn", "jet"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5, help="of timing, a call")
    parser.add_argument("--seed", type=int, help="default: another at each run")
    help_ = "keep all figures; without FILE in bench/results/, one file a machine"
    parser.add_argument("--json", nargs="?", const="", metavar="FILE", help=help_)
    parser.set_defaults(device="cpu", peers=[], quick=False, no_memory=True)


def run(options: argparse.Namespace) -> int:
    for dtype in options.dtype:
        options = argparse.Namespace(**{**vars(options), "dtype": dtype})
        comparison = Comparison("peak", "share of the multiply-add peak", options)
        print_page(measure(comparison, options.op))
        comparison.keep()
    if comparison.path:
        print(f"kept in {comparison.path}")
    return 0


def measure(comparison: Comparison, ops: list[str] | None) -> list[dict[str, Any]]:
    """The figures of all calls, in the entry that is kept as well."""
    cases: list[dict[str, Any]] = comparison.entry["cases"]
    for measured in all_measured(comparison.dtype, comparison.options.seed):
        if ops and measured.op not in ops:
            continue
        call: Callable[[], Any] = measured.implementation.build(measured.problem)
        name = measured.implementation.name
        samples, peak = comparison.timed({name: call}, [measured.implementation])
        summary = Summary.of(samples[name])
        cases.append(
            {
                "op": measured.op,
                "case": measured.case,
                "backward": measured.backward,
                **asdict(summary),
                "operations": measured.operations,
                "peak_flops": peak,
                "share_of_peak": measured.operations / summary.median / peak,
            }
        )
    return cases


def print_page(cases: list[dict[str, Any]]) -> None:
    """A line for each op and case."""
    lines: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        line = lines.setdefault((case["op"], case["case"]), [""] * 4)
        figures = f"{1e3 * case['median']:.3f}", f"{case['share_of_peak']:.0%}"
        line[2 * case["backward"] : 2 * case["backward"] + 2] = figures
    rows = [[op, case.replace(":", " "), *line] for (op, case), line in lines.items()]
    print(table(["", "", "forward ms", "peak", "with gradients ms", "peak"], rows) + "\n")
