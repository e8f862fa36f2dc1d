"""What the benches share: options, validation, timing beside peers, tables and JSON."""

from __future__ import annotations

import argparse
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import machine, probes
from bench.harness import Implementation, Summary, device_seconds, host_seconds, time_in_turns
from bench.report import keep, mebibytes, table

PROBE = "multiply-add probe"


def add_arguments(
    parser: argparse.ArgumentParser,
    groups: Sequence[str],
    dtypes: Sequence[str] = ("float32", "float64"),
) -> None:
    """The options of every bench; ``groups`` are those of the peers."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=dtypes, default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", nargs="*", choices=groups, default=groups)
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


class Comparison:
    """One run of a bench: prints what it measures and keeps it, if ``--json`` says so.

    Args:
        name: of the bench, its key in the JSON file.
        title: what is measured.
        options: as parsed by ``add_arguments``; its defaults are filled in.

    Raises:
        ValueError: a device that this machine does not have.
    """

    def __init__(self, name: str, title: str, options: argparse.Namespace) -> None:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("--device cuda: torch finds no CUDA device; use --device cpu")
        if options.quick:
            options.seconds, options.no_memory = 0.2, True
        if options.seed is None:
            options.seed = secrets.randbits(32)
        if options.device == "cpu":
            machine.use_threads(options.threads)
        self.name, self.options = name, options
        self.dtype = getattr(torch, options.dtype)
        place = machine.describe(options.device, options.threads)
        where = (
            f"{place['cpu']} {place['instruction_set']}, {options.threads} threads"
            if options.device == "cpu"
            else place["device"]
        )
        print(f"{title}: {options.dtype}, {where}, torch {torch.__version__}, seed {options.seed}")
        remark = machine.remark(place)
        if remark:
            print(remark)
        self.copy = probes.copy_bandwidth(options.device)
        self.entry: dict[str, Any] = {
            "machine": place,
            "seed": options.seed,
            "copy_bytes_per_second": self.copy,
            **({"remark": remark} if remark else {}),
            "cases": [],
        }
        self.path = None
        if options.json is not None:
            self.path = Path(options.json or machine.results_path(place))

    def keep(self) -> None:
        """Writes what there is; called after each case, so that an interrupted run keeps it."""
        if self.path:
            keep(self.path, self.name, self.options.dtype, self.entry)

    def chosen(self, implementations: Sequence[Implementation]) -> list[Implementation]:
        """Ours and those of the peers that ``--peers`` names."""
        return [i for i in implementations if i.group in ("pyneural", *self.options.peers)]

    def timed(
        self, calls: dict[str, Callable[[], Any]], chosen: Sequence[Implementation]
    ) -> tuple[dict[str, list[float]], float]:
        """Seconds of every call, and the peak that the probe measured in turns with them."""
        on_device = self.options.device == "cuda"
        clocks: dict[str, Any] = {
            i.name: device_seconds if on_device and i.device_clock else host_seconds for i in chosen
        }
        if on_device:
            probe = probes.matrix_product_probe(self.dtype, "cuda")
        else:
            # Of the type of the sums.
            wide = torch.float64 if self.dtype == torch.float64 else torch.float32
            probe = probes.multiply_add_probe(wide, self.options.threads)
        rates: list[float] = []
        clocks[PROBE] = host_seconds
        with_probe = {**calls, PROBE: lambda: rates.append(probe())}
        samples = time_in_turns(with_probe, clocks, self.options.seconds)
        del samples[PROBE]
        return samples, Summary.of(rates).median


def run_bench(
    name: str,
    title: str,
    options: argparse.Namespace,
    cases: Callable[[], Sequence[Any]],
    bench_case: Callable[[Any, bool, Comparison], tuple[dict[str, Any], bool]],
    *,
    counting: str,
    more: Callable[[Comparison], None] | None = None,
) -> int:
    """``run`` of a bench whose cases are timed forward and with gradients; its exit status.

    Args:
        name: as of ``Comparison``.
        title: the same.
        options: the same.
        cases: makes them from the options; a ValueError is what is wrong with these.
        bench_case: as of ``run_cases``.
        counting: the operations of which the table shows the share of the peak.
        more: what is measured after the cases.
    """
    try:
        found = cases()
        comparison = Comparison(name, title, options)
    except ValueError as error:
        print(f"bench {name}: {error}")
        return 2
    print(f"peak: share of the multiply-add probe, counting {counting}")
    passed = run_cases(comparison, found, bench_case)
    if more:
        more(comparison)
    if comparison.path:
        print(f"kept in {comparison.path}")
    return 0 if passed else 1


def run_cases(
    comparison: Comparison,
    cases: Sequence[Any],
    bench_case: Callable[[Any, bool, Comparison], tuple[dict[str, Any], bool]],
) -> bool:
    """``bench_case(case, backward, comparison)`` for all; whether ours agree with the oracle."""
    passed = True
    for case in cases:
        for backward in (False, True):
            print(f"\n{case.title}: forward{' + backward' if backward else ''}", flush=True)
            entry, right = bench_case(case, backward, comparison)
            comparison.entry["cases"].append({**asdict(case), "backward": backward, **entry})
            comparison.keep()
            passed &= right
    return passed


def compared(
    comparison: Comparison,
    problem: Any,
    implementations: Sequence[Implementation],
    oracle: Any,
    limit: float,
) -> tuple[dict[str, Any], bool]:
    """Validate, time and print; the figures, and whether the first of them, ours, is right.

    Args:
        comparison: says which peers take part.
        problem: what ``build`` of an implementation takes; has ``operations()``.
        implementations: ours, then its peers.
        oracle: what a call must give.
        limit: of the relative error.
    """
    chosen = comparison.chosen(implementations)
    found = validated(problem, chosen, oracle, limit)
    return timed_rows(comparison, problem, chosen, *found)


def timed_rows(
    comparison: Comparison,
    problem: Any,
    chosen: Sequence[Implementation],
    calls: dict[str, Callable[[], Any]],
    errors: dict[str, float],
    absent: dict[str, str],
) -> tuple[dict[str, Any], bool]:
    """The second half of ``compared``, of what ``validated`` gives."""
    samples, peak = comparison.timed(calls, chosen)
    rows = {
        name: figures(seconds, problem.operations(), peak, errors[name])
        for name, seconds in samples.items()
    }
    print_rows(rows, chosen[0].name, peak)
    for name, reason in absent.items():
        print(f"absent: {name}: {reason}")
    ours = [i.name for i in chosen if i.group == "pyneural"]
    right = all(name in rows for name in ours)
    return {"peak_flops": peak, "rows": rows, "absent": absent}, right


def validated(
    problem: Any, chosen: Sequence[Implementation], oracle: Any, limit: float
) -> tuple[dict[str, Callable[[], Any]], dict[str, float], dict[str, str]]:
    """Calls that agree with the oracle, the errors of all, and why the others are left out."""
    # Every case compiles anew; dynamo would otherwise give up after a few shapes.
    torch._dynamo.reset()
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


def figures(seconds: Sequence[float], operations: int, peak: float, error: float) -> dict[str, Any]:
    """The row of one implementation."""
    summary = Summary.of(list(seconds))
    return {
        **asdict(summary),
        "operations": operations,
        "share_of_peak": operations / summary.median / peak,
        "relative_error": error,
    }


def print_rows(rows: dict[str, dict[str, Any]], ours: str, peak: float) -> None:
    """The table of one case; ratios are to ``ours``."""
    reference = rows.get(ours, {}).get("median")
    with_memory = any("extra_bytes" in row for row in rows.values())
    lines = []
    for name, row in rows.items():
        median, low, high = (_milliseconds(row[key]) for key in ("median", "low", "high"))
        lines.append(
            [
                name,
                median,
                f"{low}-{high}",
                f"{row['median'] / reference:.2f}x" if reference else "",
                f"{100 * row['share_of_peak']:.0f}%",
                *([mebibytes(row.get("extra_bytes"))] if with_memory else []),
                f"{row['relative_error']:.0e}",
            ]
        )
    memory = ["extra MiB"] if with_memory else []
    print(table(["", "median ms", "quartiles", "ratio", "peak", *memory, "error"], lines))
    print(f"{PROBE} {peak / 1e9:.0f} GFLOP/s")


def _milliseconds(seconds: float) -> str:
    value = 1e3 * seconds
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def relative_error(result: Sequence[Any], expected: Sequence[Any]) -> float:
    """Largest ||a - b|| / ||b|| over tensors, nested or not; infinite if shapes differ.

    Each may hold tensors or arrays; NaN counts as infinite.
    """
    worst = 0.0
    for a, b in zip(_flat(result), _flat(expected), strict=True):
        a, b = _as_double(a), _as_double(b)
        if a.shape != b.shape:
            return math.inf
        error = float((a - b).norm() / b.norm())
        worst = max(worst, math.inf if math.isnan(error) else error)
    return worst


def _flat(values: Any) -> list[Any]:
    if isinstance(values, (list, tuple)):
        return [tensor for value in values for tensor in _flat(value)]
    return [values]


def _as_double(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        import numpy

        value = torch.from_numpy(numpy.array(value))
    return value.detach().double().cpu()
