"""How much memory is free, and how much something would take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch

_CGROUPS = Path("/sys/fs/cgroup")  # limits of a container or of a job on a cluster
_OWN = Path("/proc/self/cgroup")  # which group this process is in
_FILES = {  # by version: folder, limit, bytes used, and those of files that the kernel gives back
    2: ("", "memory.max", "memory.current", "inactive_file"),
    1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken on a device; None where that is not known.

    Of the processor, those of the machine and of the limits of the job's groups, whichever are
    fewer. What the system keeps of files that were read counts as free.

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
    found = [_of_machine(), *(_below(*group) for group in _groups())]
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


def _groups() -> Iterator[tuple[Path, int]]:
    """Folders of the groups of this process, its own, those around it, and their versions."""
    try:
        lines = [line.split(":", 2) for line in _OWN.read_text().splitlines()]
    except OSError:
        lines = []
    paths = {1: "/", 2: "/"}  # in a container its own group is the root
    for number, controllers, path in lines:
        if number == "0" or "memory" in controllers.split(","):
            paths[2 if number == "0" else 1] = path
    for version, path in paths.items():
        root = _CGROUPS / _FILES[version][0]
        own = PurePosixPath("/") / path
        for group in (own, *own.parents):
            yield root / group.relative_to("/"), version


def _below(group: Path, version: int) -> int | None:
    """Bytes below the limit of a group; None without one."""
    _, limit, used, inactive = _FILES[version]
    try:
        free = int((group / limit).read_text()) - int((group / used).read_text())
    except (OSError, ValueError):  # "max" where there is no limit
        return None
    try:
        numbers = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return free + int(numbers.get(inactive, 0))
    except (OSError, ValueError):
        return free
