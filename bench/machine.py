"""Where and with what a figure was measured."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent

BUSY = 0.5  # processes that were running in the minute before


def cpu_name(text: str | None = None) -> str:
    """The processor's name as the operating system gives it.

    With its numbers: the name alone may be that of several generations.
    """
    if text is None:
        try:
            text = Path("/proc/cpuinfo").read_text()
        except OSError:
            return platform.processor() or platform.machine()
    lines = re.findall(r"^([\w ]+?)\s*:\s*(.+)$", text, re.MULTILINE)
    found = dict(reversed(lines))  # of the first processor
    numbers = ["cpu family", "model", "stepping", "CPU implementer", "CPU part"]
    return " ".join(
        [
            found.get("model name", platform.machine()),
            *(f"{key.split()[-1]} {found[key]}" for key in numbers if key in found),
        ]
    )


def commit() -> str:
    """Short commit of the checkout, with "+" where files differ from it; "unknown" outside git.

    Kept figures do not count: a bench that keeps them for each dtype would change its own commit.
    """
    try:
        name, changes = (
            subprocess.run(
                ["git", *command], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (
                ["rev-parse", "--short", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no", "--", ":!bench/results"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+" if changes else "")


def instruction_set() -> str:
    """The instruction set of the CPU kernels in use."""
    from pyneural import _loader

    return _loader.loaded_isa()


@functools.cache
def load_before() -> float:
    """Processes that ran in the minute before the first call: later it is the bench's own load."""
    return round(os.getloadavg()[0], 2)


def describe(device: str, threads: int) -> dict[str, Any]:
    """Machine, versions, commit and date, for the JSON file."""
    versions = {"python": platform.python_version()}
    for package in ("pyneural", "torch", "jax"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    versions["torch"] = torch.__version__
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "instruction_set": instruction_set(),
        "threads": threads,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "system": f"{platform.system()} {platform.machine()}",
        "commit": commit(),
        "date": date.today().isoformat(),
        "load_before": load_before(),
        "versions": versions,
    }


def remark(machine: dict[str, Any]) -> str:
    """What to say of figures measured there; nothing if the machine was quiet."""
    load = machine["load_before"]
    return f"the machine is busy (load {load}): the figures are not reliable" if load > BUSY else ""


def file_name(machine: dict[str, Any]) -> str:
    """One file a machine: ``nvidia-h200.json``; a processor has its instruction set and threads."""
    if machine["device"] != "cpu":
        text = machine["device"]
    else:
        text = f"{machine['cpu']} {machine['instruction_set']} {machine['threads']} threads"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") + ".json"


def results_path(machine: dict[str, Any]) -> Path:
    """Where ``--json`` keeps the figures of this machine."""
    return ROOT / "bench" / "results" / file_name(machine)


def use_threads(threads: int) -> None:
    """Give torch that many threads and the process that many cores, one hardware thread a core.

    The cores bind JAX too, which takes as many threads as it finds cores.
    """
    torch.set_num_threads(threads)
    if not hasattr(os, "sched_setaffinity"):
        return
    first: list[int] = []
    second: list[int] = []  # the other hardware threads of those cores
    seen: set[str] = set()
    for cpu in sorted(os.sched_getaffinity(0)):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        siblings = path.read_text() if path.exists() else str(cpu)
        (second if siblings in seen else first).append(cpu)
        seen.add(siblings)
    os.sched_setaffinity(0, (first + second)[:threads])
