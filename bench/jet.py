"""Loss and gradient of Burgers' residual: pyneural, torch eager and compiled, torch.func, JAX.

Each implementation is first compared with float64 nested autograd on fresh random inputs: the loss
and every gradient. One that is off is refused, one that cannot be built is reported as absent.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from bench.burgers import CHANNELS, COLLAPSED_CHANNELS, TOLERANCE, Case, Problem
from bench.comparison import Comparison, figures, print_rows, validated
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from bench.memory import device_extra_bytes, extra_bytes
from bench.peers import jet_jax, jet_jvp, jet_nested, jet_pyneural, jet_taylor
from bench.report import mebibytes, table

CASES = ("8x20", "4x64", "5x128", "4x256")
MEMORY_CASES = ("4x64", "8x64", "16x64")
MEMORY_POINTS = 100_000
OURS = jet_pyneural.IMPLEMENTATIONS[0].name
IMPLEMENTATIONS: list[Implementation] = [
    implementation
    for module in (jet_pyneural, jet_nested, jet_taylor, jet_jvp, jet_jax)
    for implementation in module.IMPLEMENTATIONS
]
GROUPS = sorted({i.group for i in IMPLEMENTATIONS} - {"pyneural"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", default=CASES, metavar="DEPTHxWIDTH")
    parser.add_argument("--points", type=int, help="default 10,000; 8,192 from width 256")
    add_common_arguments(parser, GROUPS)


def run(options: argparse.Namespace) -> int:
    try:
        cases = [Case.parse(text, options.points) for text in options.case]
        comparison = Comparison("jet", "Burgers residual, loss + gradient", options)
    except ValueError as error:
        print(f"bench jet: {error}")
        return 2
    print(
        f"peak: share of the multiply-add probe, counting 3 x the forward's operations of "
        f"{CHANNELS} channels,\nof {COLLAPSED_CHANNELS} for {OURS!r}, which gathers u_t - nu u_xx"
    )
    entry = comparison.entry
    for case in cases:
        entry["cases"].append(bench_case(case, comparison))
        comparison.keep()
    print(f"\ncopy probe {comparison.copy / 1e9:.1f} GB/s")
    if not options.no_memory:
        entry["memory"] = bench_memory(options)
    comparison.keep()
    if comparison.path:
        print(f"kept in {comparison.path}")
    return 0 if all(OURS in case["rows"] for case in entry["cases"]) else 1


def bench_case(case: Case, comparison: Comparison) -> dict[str, Any]:
    """Validate, time, measure memory and print one case; the figures for the JSON file."""
    print(f"\n{case.depth} x {case.width}, {case.points:,} points", flush=True)
    options = comparison.options
    problem = Problem.random(case, comparison.dtype, options.device, options.seed)
    chosen = comparison.chosen(IMPLEMENTATIONS)
    oracle = jet_nested.build(problem.double())()
    calls, errors, absent = validated(problem, chosen, oracle, TOLERANCE[comparison.dtype])
    samples, peak = comparison.timed(calls, chosen)
    rows: dict[str, dict[str, Any]] = {}
    for name, seconds in samples.items():
        operations = case.operations(COLLAPSED_CHANNELS if name == OURS else CHANNELS)
        rows[name] = figures(seconds, operations, peak, errors[name])
        if not options.no_memory:
            rows[name]["extra_bytes"] = memory_of(name, case, options)
    print_rows(rows, OURS, peak)
    for name, reason in absent.items():
        print(f"absent: {name}: {reason}")
    return {**asdict(case), "peak_flops": peak, "rows": rows, "absent": absent}


def bench_memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Peak extra memory of both pyneural implementations at 100,000 points, for several depths."""
    print(f"\npeak extra memory at {MEMORY_POINTS:,} points, MiB")
    found = []
    for implementation in jet_pyneural.IMPLEMENTATIONS:
        for text in MEMORY_CASES:
            case = Case.parse(text, MEMORY_POINTS)
            size = memory_of(implementation.name, case, options)
            found.append({"name": implementation.name, **asdict(case), "extra_bytes": size})
    rows = [
        [
            implementation.name,
            *(mebibytes(f["extra_bytes"]) for f in found if f["name"] == implementation.name),
        ]
        for implementation in jet_pyneural.IMPLEMENTATIONS
    ]
    print(table(["", *(text.replace("x", " x ") for text in MEMORY_CASES)], rows))
    return found


def memory_of(name: str, case: Case, options: argparse.Namespace) -> int | None:
    """Peak extra bytes of one implementation on a case."""
    subject = {
        "implementation": name,
        "case": asdict(case),
        "dtype": options.dtype,
        "device": options.device,
        "threads": options.threads,
    }
    if options.device == "cpu":
        return extra_bytes("jet", subject)
    implementation, problem, _ = memory_subject(subject)
    return device_extra_bytes(implementation, implementation.build(problem))


def memory_subject(subject: dict[str, Any]) -> tuple[Implementation, Problem, Problem]:
    """Implementation, problem and a small problem for its first call, for ``bench.memory``."""
    implementation = next(i for i in IMPLEMENTATIONS if i.name == subject["implementation"])
    case = Case(**subject["case"])
    make = partial(Problem.random, dtype=getattr(torch, subject["dtype"]), device=subject["device"])
    return implementation, make(case), make(Case(case.depth, case.width, min(64, case.points)))


if __name__ == "__main__":
    sys.exit("run it as: python -m bench jet")
