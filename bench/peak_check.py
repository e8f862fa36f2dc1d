"""``python -m bench peak --check``: whether an op fell under the share of peak that is kept of it.

Shares, not times: the probe is timed in turns with each call, so that a slower clock lowers both.
What disturbs one of them for a moment is met by further tries, of which the best counts. What
disturbs them for longer, another process say, lowers the probe's rate, and such a try is no
evidence: without enough of the others a call is not judged.
"""

from __future__ import annotations

import argparse
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench import machine, probes
from bench.peak_calls import DTYPES, MULTIPLY_ADDS, Call, all_calls, measure, shown
from bench.report import table

FLOOR = 0.8  # of the kept share
TRIES = 8
# A try counts against a call where the probe reaches so much of the kept peak. With one other
# process on two cores it reaches 0.67 to 0.75, and a call is half as fast again.
QUIET = 0.85
EVIDENCE = 4  # tries that count, of those that a call needs to fail
LONGEST = 0.1  # seconds of a call; those that took longer when kept are left out
PAUSE = 5.0  # seconds from the first try of a round to that of the next, at least
PATIENCE = 180.0  # seconds after which no round begins
MIN_ROUNDS, PROBE_SECONDS = 2, 0.01  # of a try


@dataclass
class Judged:
    """A call, its kept figures, and the shares of its tries."""

    call: Call
    kept: dict[str, Any]
    best: float = 0.0
    on_quiet_machine: list[float] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.best >= FLOOR * self.kept["share_of_peak"]

    @property
    def failed(self) -> bool:
        return not self.passed and len(self.on_quiet_machine) >= EVIDENCE

    def try_once(self, threads: int, seed: int) -> None:
        found = measure(self.call, threads, seed, 0.0, MIN_ROUNDS, PROBE_SECONDS)
        self.best = max(self.best, found["share_of_peak"])
        if found["peak"] >= QUIET * self.kept["peak"]:
            self.on_quiet_machine.append(found["share_of_peak"])


def run(options: argparse.Namespace) -> int:
    """Exit status: 1 where a call fell by more than a fifth, else 0."""
    machine.use_threads(options.threads)
    place = machine.describe("cpu", options.threads)
    path = Path(options.check or machine.results_path(place))
    entries = kept_entries(path, place)
    where = f"{place['cpu']} {place['instruction_set']}, {options.threads} threads"
    judged, unknown = to_judge(entries, options.dtype, options.op)
    if not judged:
        print(
            f"shares of peak: none are kept for {where}, and none are judged; to keep them, on a "
            "quiet machine: python -m bench peak --json"
        )
        return 0
    kept = ", ".join(sorted({of_when(entry) for entry in entries.values()}))
    print(f"shares of peak: {where}, {len(judged)} calls, beside those kept at {kept}", flush=True)
    if unknown:
        print(f"nothing is kept of {unknown} more; keep them: python -m bench peak --json")
    slow = slowness(judged, options.threads)
    if slow:
        print(f"not judged: {slow}")
        return 0
    seed = secrets.randbits(32) if options.seed is None else options.seed
    try_all(judged, options.threads, seed)
    return report(judged)


def kept_entries(path: Path, place: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Dtype to what is kept of this processor, instruction set and number of threads."""
    found = json.loads(path.read_text()).get("peak", {}) if path.exists() else {}
    same = ("cpu", "instruction_set", "threads")
    return {
        dtype: entry
        for dtype, entry in found.items()
        if all(entry["machine"][key] == place[key] for key in same)
    }


def of_when(entry: dict[str, Any]) -> str:
    """Commit and date of an entry, and what to think of it."""
    remark = f" ({entry['remark']})" if "remark" in entry else ""
    return f"commit {entry['machine']['commit']} of {entry['machine']['date']}{remark}"


def to_judge(
    entries: dict[str, dict[str, Any]], dtypes: Sequence[str], ops: Sequence[str]
) -> tuple[list[Judged], int]:
    """The calls of which a figure is kept, but for the longest; how many have none."""
    judged, unknown = [], 0
    for dtype in (dtype for dtype in DTYPES if dtype in entries and dtype in dtypes):
        kept = {(c["op"], c["case"], c["backward"]): c for c in entries[dtype]["cases"]}
        for call in (call for call in all_calls(dtype) if call.op in ops):
            if call.key not in kept:
                unknown += 1
            elif kept[call.key]["median"] <= LONGEST:
                judged.append(Judged(call, kept[call.key]))
    return judged, unknown


def slowness(judged: list[Judged], threads: int) -> str:
    """What is wrong with the machine, if it is too busy or too slow to tell anything."""
    limited = [one for one in judged if one.call.limit == MULTIPLY_ADDS]
    if not limited:
        return ""
    wide = torch.float64 if limited[0].call.dtype == "float64" else torch.float32
    probe = probes.multiply_add_probe(wide, threads)
    now, kept = max(probe() for _ in range(5)), limited[0].kept["peak"]
    if now >= QUIET * kept:
        return ""
    return (
        f"the machine is busy or slow; the multiply-add probe reaches {now / 1e9:.0f} GFLOP/s of "
        f"{kept / 1e9:.0f} when the shares were kept"
    )


def try_all(judged: list[Judged], threads: int, seed: int) -> None:
    """Tries in rounds, the calls that have not passed in each, so that tries are spread in time."""
    start = begun = time.monotonic()
    for number in range(TRIES):
        if all(one.passed for one in judged) or begun - start > PATIENCE:
            return
        if number:
            time.sleep(max(0.0, begun + PAUSE - time.monotonic()))
        begun = time.monotonic()
        for one in judged:
            if not one.passed:
                one.try_once(threads, seed)


def report(judged: list[Judged]) -> int:
    """Prints what came of it; the exit status."""
    failed = [one for one in judged if one.failed]
    undecided = [one for one in judged if not one.passed and not one.failed]
    passed = len(judged) - len(failed) - len(undecided)
    print(f"{passed} reach at least {FLOOR:.0%} of the kept share")
    if undecided:
        print(f"\n{len(undecided)} not judged, as the machine was busy during their tries:")
        print_shares(undecided)
    if not failed:
        return 0
    print(f"\n{len(failed)} FELL by more than a fifth, in the best of up to {TRIES} tries:")
    print_shares(failed)
    print(
        "\nFind the change that slowed them down (python -m bench peak --check --op "
        f"{' '.join(dict.fromkeys(one.call.op for one in failed))}).\nIf it is meant, keep the new "
        "shares, on a quiet machine: python -m bench peak --json"
    )
    return 1


def print_shares(judged: list[Judged]) -> None:
    rows = [
        [
            f"{one.call.op} {shown(one.call.case)}, "
            f"{'with gradients' if one.call.backward else 'forward'}, {one.call.dtype}",
            f"{one.kept['share_of_peak']:.1%}",
            f"{one.best:.1%}",
        ]
        for one in judged
    ]
    print(table(["", "kept", "measured"], rows))
