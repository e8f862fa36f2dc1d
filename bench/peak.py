"""The share of its limit that every op reaches, on one page, forward and with gradients.

The limit is the processor's multiply-add peak, or for ops that only pass over memory its
bandwidth; the probe is timed in turns with each call. Operations are those of the products alone,
so that activations, a softmax or the packing of operands lower the share. What the calls give is
compared with torch by the benches of the single ops.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from bench import peak_check
from bench.comparison import Comparison
from bench.peak_calls import DTYPES, LINES, MEMORY, MULTIPLY_ADDS, all_calls, measure, shown
from bench.report import table

HEADINGS = {
    MULTIPLY_ADDS: "share of the multiply-add peak, {:.0f} GFLOP/s",
    MEMORY: "share of the memory bandwidth, {:.1f} GB/s read and written",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    ops = list(dict.fromkeys(lines.op for lines in LINES))
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=DTYPES)
    help_ = f"some of {', '.join(ops)}"
    parser.add_argument("--op", nargs="+", choices=ops, default=ops, metavar="OP", help=help_)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5, help="of timing, a call")
    parser.add_argument("--seed", type=int, help="default: another at each run")
    help_ = "keep all figures; without FILE in bench/results/, one file a machine"
    parser.add_argument("--json", nargs="?", const="", metavar="FILE", help=help_)
    help_ = "compare with the kept figures instead, by default those in bench/results/"
    parser.add_argument("--check", nargs="?", const="", metavar="FILE", help=help_)
    parser.set_defaults(device="cpu", peers=[], quick=False, no_memory=True, every_op=ops)


def run(options: argparse.Namespace) -> int:
    if options.check is not None and options.json is not None:
        print("bench peak: --check compares and --json keeps; give one of them")
        return 2
    if options.json == "" and options.op != options.every_op:
        print("bench peak: --op with --json: the other ops' kept shares would be lost; name a FILE")
        return 2
    if options.check is not None:
        return peak_check.run(options)
    for dtype in options.dtype:
        options = argparse.Namespace(**{**vars(options), "dtype": dtype})
        calls = [call for call in all_calls(dtype) if call.op in options.op]
        if not calls:
            continue
        comparison = Comparison("peak", "share of peak", options)
        cases: list[dict[str, Any]] = comparison.entry["cases"]
        for call in calls:
            cases.append(measure(call, options.threads, options.seed, options.seconds))
        comparison.keep()
        print_page(cases)
    print_meanings(options.op)
    if comparison.path:
        print(f"kept in {comparison.path}")
    return 0


def print_page(cases: list[dict[str, Any]]) -> None:
    """A line for each op and case, in a table for each limit."""
    for limit, heading in HEADINGS.items():
        limited = [case for case in cases if case["limit"] == limit]
        if not limited:
            continue
        lines: dict[tuple[str, str], list[str]] = {}
        for case in limited:
            line = lines.setdefault((case["op"], case["case"]), [""] * 4)
            figures = f"{1e3 * case['median']:.3f}", f"{case['share_of_peak']:.0%}"
            line[2 * case["backward"] : 2 * case["backward"] + 2] = figures
        print("\n" + heading.format(statistics.median(case["peak"] for case in limited) / 1e9))
        width = max(len(op) for op, _ in lines)
        rows = [[f"{op:{width}}  {shown(case)}", *line] for (op, case), line in lines.items()]
        print(table(["", "forward ms", "share", "with gradients ms", "share"], rows))
    print()


def print_meanings(ops: list[str]) -> None:
    """What the numbers of the cases are."""
    rows = {(lines.op, lines.meaning): None for lines in LINES if lines.op in ops}
    width = max(len(op) for op, _ in rows)
    for op, meaning in rows:
        print(f"{op:{width}}  {meaning}")
