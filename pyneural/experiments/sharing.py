"""Processes under ``torchrun`` that share the cells of an experiment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from pyneural.training.distributed import ProcessGroup

_PATIENCE = timedelta(days=7)  # a process that has ended its cells waits for the others


@dataclass(frozen=True)
class Processes:
    """The number of this process and of all; they talk by gloo."""

    rank: int = 0
    size: int = 1
    group: Any = None

    @staticmethod
    def join() -> Processes:
        """Joins the processes that ``torchrun`` started; a single process is a group of its own."""
        if not dist.is_available() or (
            not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) == 1
        ):
            return Processes()
        own = ProcessGroup.join(torch.nn.Linear(1, 1))
        return Processes(own.rank, own.size, dist.new_group(backend="gloo", timeout=_PATIENCE))

    def gather(self, text: str) -> list[str]:
        """The texts of all processes, in the order of their ranks."""
        if self.size == 1:
            return [text]
        mine = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(mine)]), group=self.group)
        longest = int(torch.cat(lengths).max())
        parts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        padded = torch.nn.functional.pad(mine, (0, longest - len(mine)))
        dist.all_gather(parts, padded, group=self.group)
        return [
            bytes(part[: int(length)].tolist()).decode()
            for part, length in zip(parts, lengths, strict=True)
        ]

    def wait(self) -> None:
        """Returns once all processes have called it."""
        if self.size > 1:
            dist.barrier(group=self.group)
