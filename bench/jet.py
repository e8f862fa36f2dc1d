"""Loss and gradient of Burgers' residual: pyneural, torch eager and compiled, torch.func, JAX.

Each implementation is first compared with float64 nested autograd on fresh random inputs: the loss
and every gradient. One that is off is refused, one that cannot be built is reported as absent.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench import machine, probes
from bench.burgers import (
    CHANNELS,
    COLLAPSED_CHANNELS,
    TOLERANCE,
    Case,
    Problem,
    relative_error,
)
from bench.harness import Implementation, Summary, device_seconds, host_seconds, time_in_turns
from bench.memory import device_extra_bytes, extra_bytes
from bench.peers import jet_jax, jet_jvp, jet_nested, jet_pyneural, jet_taylor
from bench.report import keep, mebibytes, table

CASES = ("8x20", "4x64", "5x128", "4x256")
MEMORY_CASES = ("4x64", "8x64", "16x64")
MEMORY_POINTS = 100_000
PROBE = "multiply-add probe"
BUSY = 0.5  # processes that were running in the minute before
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
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", nargs="*", choices=GROUPS, default=GROUPS)
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing, an implementation")
    parser.add_argument("--seed", type=int, help="default: another at each run")
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory runs")
    parser.add_argument("--quick", action="store_true", help="0.2 s of timing and --no-memory")
    parser.add_argument(
        "--json",
        nargs="?",
        const="",
        metavar="FILE",
        help="keep all figures; without FILE in bench/results/, one file a machine",
    )


def run(options: argparse.Namespace) -> int:
    if options.device == "cuda" and not torch.cuda.is_available():
        print("bench jet: --device cuda: torch finds no CUDA device; use --device cpu")
        return 2
    try:
        cases = [Case.parse(text, options.points) for text in options.case]
    except ValueError as error:
        print(f"bench jet: {error}")
        return 2
    if options.quick:
        options.seconds, options.no_memory = 0.2, True
    if options.seed is None:
        options.seed = secrets.randbits(32)
    if options.device == "cpu":
        machine.use_threads(options.threads)
    place = machine.describe(options.device, options.threads)
    where = (
        f"{place['cpu']} {place['instruction_set']}, {options.threads} threads"
        if options.device == "cpu"
        else place["device"]
    )
    print(
        f"Burgers residual, loss + gradient: {options.dtype}, {where}, "
        f"torch {torch.__version__}, seed {options.seed}"
    )
    if place["load_before"] > BUSY:
        print(f"the machine is busy (load {place['load_before']}): the figures are not reliable")
    print(
        f"peak: share of the multiply-add probe, counting 3 x the forward's operations of "
        f"{CHANNELS} channels,\nof {COLLAPSED_CHANNELS} for {OURS!r}, which gathers u_t - nu u_xx"
    )
    copy = probes.copy_bandwidth(options.device)
    entry: dict[str, Any] = {"machine": place, "seed": options.seed, "copy_bytes_per_second": copy}
    entry["cases"] = []
    path = None
    if options.json is not None:
        path = Path(options.json or machine.ROOT / "bench" / "results" / machine.file_name(place))
    chosen = [i for i in IMPLEMENTATIONS if i.group in ("pyneural", *options.peers)]
    for case in cases:
        entry["cases"].append(bench_case(case, chosen, options))
        if path:  # after each case: an interrupted run keeps what it has
            keep(path, "jet", options.dtype, entry)
    print(f"\ncopy probe {copy / 1e9:.1f} GB/s")
    if not options.no_memory:
        entry["memory"] = bench_memory(options)
    if path:
        keep(path, "jet", options.dtype, entry)
        print(f"kept in {path}")
    return 0 if all(OURS in case["rows"] for case in entry["cases"]) else 1


def bench_case(
    case: Case, chosen: list[Implementation], options: argparse.Namespace
) -> dict[str, Any]:
    """Validate, time, measure memory and print one case; the figures for the JSON file."""
    print(f"\n{case.depth} x {case.width}, {case.points:,} points", flush=True)
    dtype = getattr(torch, options.dtype)
    problem = Problem.random(case, dtype, options.device, options.seed)
    calls, errors, absent = validated(problem, chosen)
    samples, peak = timed(calls, problem, chosen, options)
    rows: dict[str, dict[str, Any]] = {}
    for name, seconds in samples.items():
        summary = Summary.of(seconds)
        rows[name] = {
            **asdict(summary),
            "operations": operations_of(name, case),
            "share_of_peak": operations_of(name, case) / summary.median / peak,
            "relative_error": errors[name],
        }
        if not options.no_memory:
            rows[name]["extra_bytes"] = memory_of(name, case, options)
    print_case(rows, peak)
    for name, reason in absent.items():
        print(f"absent: {name}: {reason}")
    return {
        **asdict(case),
        "peak_flops": peak,
        "rows": rows,
        "absent": absent,
    }


def validated(
    problem: Problem, chosen: list[Implementation]
) -> tuple[dict[str, Callable[[], Any]], dict[str, float], dict[str, str]]:
    """Calls that agree with the oracle, the errors of all, and why the others are left out."""
    # Every case compiles anew; dynamo would otherwise give up after a few shapes.
    torch._dynamo.reset()
    oracle = jet_nested.build(problem.double())()
    limit = TOLERANCE[problem.x.dtype]
    calls, errors, absent = {}, {}, {}
    for implementation in chosen:
        name = implementation.name
        try:
            call = implementation.build(problem)
            errors[name] = relative_error(call(), oracle)
        except Exception as error:  # whatever a peer's compiler raises is its reason
            absent[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150]}"
            continue
        if errors[name] <= limit:
            calls[name] = call
        else:
            absent[name] = f"refused, relative error {errors[name]:.1e} above {limit:.0e}"
    return calls, errors, absent


def timed(
    calls: dict[str, Callable[[], Any]],
    problem: Problem,
    chosen: list[Implementation],
    options: argparse.Namespace,
) -> tuple[dict[str, list[float]], float]:
    """Seconds of every call, and the peak that the probe measured in turns with them."""
    clocks: dict[str, Any] = {
        i.name: device_seconds if problem.x.is_cuda and i.device_clock else host_seconds
        for i in chosen
    }
    if problem.x.is_cuda:
        probe = probes.matrix_product_probe(problem.x.dtype, "cuda")
    else:
        probe = probes.multiply_add_probe(problem.x.dtype, options.threads)
    rates: list[float] = []
    clocks[PROBE] = host_seconds
    with_probe = {**calls, PROBE: lambda: rates.append(probe())}
    samples = time_in_turns(with_probe, clocks, options.seconds)
    del samples[PROBE]
    return samples, Summary.of(rates).median


def operations_of(name: str, case: Case) -> int:
    return case.operations(COLLAPSED_CHANNELS if name == OURS else CHANNELS)


def print_case(rows: dict[str, dict[str, Any]], peak: float) -> None:
    ours = rows.get(OURS, {}).get("median")
    lines = []
    for name, row in rows.items():
        median, low, high = (f"{1e3 * row[key]:.2f}" for key in ("median", "low", "high"))
        memory = [mebibytes(row["extra_bytes"])] if "extra_bytes" in row else []
        lines.append(
            [
                name,
                median,
                f"{low}-{high}",
                f"{row['median'] / ours:.2f}x" if ours else "",
                f"{100 * row['share_of_peak']:.0f}%",
                *memory,
                f"{row['relative_error']:.0e}",
            ]
        )
    memory = ["extra MiB"] if any("extra_bytes" in row for row in rows.values()) else []
    print(table(["", "median ms", "quartiles", "ratio", "peak", *memory, "error"], lines))
    print(f"{PROBE} {peak / 1e9:.0f} GFLOP/s")


def bench_memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Peak extra memory of pyneural's two ways at 100,000 points over depth."""
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
