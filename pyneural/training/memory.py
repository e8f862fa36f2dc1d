"""How much memory is free, and how much something would take."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_CGROUP = Path("/sys/fs/cgroup")  # limits of a container or of a job on a cluster
_LIMITS = (("memory.max", "memory.current"),
           ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))  # fmt: skip
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken on a device; None where that is not known.

    Of the processor, those of the machine and of the limit of the job, whichever are fewer.

    >>> available = available_memory(torch.device("cpu"))
    >>> available is None or available > 0
    True
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + unused
    if device.type != "cpu":
        return None
    found = [_of_machine(), *(_below(*names) for names in _LIMITS)]
    known = [number for number in found if number is not None]
    return max(min(known), 0) if known else None


def as_text(size: float) -> str:
    """A number of bytes for people.

    >>> as_text(3.24e9), as_text(500)
    ('3.2 GB', '0.5 kB')
    """
    unit, name = next((u, n) for u, n in _UNITS if size >= u or n == "kB")
    return f"{size / unit:.1f} {name}"


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _below(limit: str, used: str) -> int | None:
    try:
        return int((_CGROUP / limit).read_text()) - int((_CGROUP / used).read_text())
    except (OSError, ValueError):  # "max" where there is no limit
        return None
