"""Peak extra memory of one call; inputs and parameters are not counted, results are.

CPU: high-water mark of the resident set, in a process of its own, after a call on a few points
has loaded the libraries. CUDA: high-water mark of torch's allocator.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.harness import Implementation
from bench.machine import ROOT, use_threads

STATUS = Path("/proc/self/status")


def extra_bytes(bench: str, subject: dict[str, Any]) -> int | None:
    """Peak extra bytes of ``bench.NAME.memory_subject(subject)``; None where it cannot be had."""
    # glibc keeps freed blocks below a growing threshold; a fixed one gives them back, so that the
    # resident set is what is in use.
    environment = dict(os.environ, MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TRIM_THRESHOLD_="65536")
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory", bench, json.dumps(subject)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        print(f"no memory figure for {subject['implementation']}: {reason[:150]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def measure(bench: str, subject: dict[str, Any]) -> int:
    """The figure, in this process."""
    use_threads(subject["threads"])
    implementation, problem, small = importlib.import_module(f"bench.{bench}").memory_subject(
        subject
    )
    implementation.build(small)()
    call = implementation.build(problem)
    if implementation.compiles:
        call()
    before = reset_high_water()
    call()
    return max(0, high_water() - before)


def device_extra_bytes(implementation: Implementation, call: Callable[[], Any]) -> int | None:
    """The figure of a CUDA call; None for one that allocates behind torch's back or in a graph."""
    if implementation.compiles:
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def high_water() -> int:
    """Most resident bytes since the reset."""
    return _status("VmHWM")


def reset_high_water() -> int:
    """Make the high-water mark what is resident now, and return it."""
    if sys.platform != "linux":
        raise OSError("the memory bench needs Linux's /proc")
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key + ":"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))))
