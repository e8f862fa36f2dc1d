"""Several processes under ``torchrun``: which this one is, and sums over all of them."""

import atexit
import gc
import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from pyneural.training.isolation import is_isolated


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together: the number of this one, and of all."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def join(model: torch.nn.Module) -> "ProcessGroup":
        """Joins the processes that ``torchrun`` started; a single process is a group of its own.

        A model on a GPU is moved to that of this process, LOCAL_RANK. The processes talk by NCCL
        on GPUs and by gloo on CPUs, unless the process group is there already. Inside ``isolated``
        each process is a group of its own.
        """
        if is_isolated() or not dist.is_available():
            return SINGLE_PROCESS
        on_gpu = any(parameter.is_cuda for parameter in model.parameters())
        if not dist.is_initialized():
            if int(os.environ.get("WORLD_SIZE", "1")) == 1:
                return SINGLE_PROCESS
            dist.init_process_group("nccl" if on_gpu else "gloo")
            atexit.register(_leave)
        if on_gpu and dist.get_world_size() > 1:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
            model.to(device)
        return ProcessGroup(dist.get_rank(), dist.get_world_size())

    @property
    def writes(self) -> bool:
        """Whether this process writes files and shows progress: that of rank 0 alone does."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """Sum of a tensor over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor([float(flag)], device=device)).item())

    def from_first(self, value: int, device: torch.device) -> int:
        """The whole number that rank 0 has."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], device=device)
        dist.broadcast(shared, 0)
        return int(shared.item())

    def tensor_from_first(self, value: Tensor) -> Tensor:
        """The tensor of one shape that rank 0 has."""
        if self.size > 1:
            value = value.contiguous()
            dist.broadcast(value, 0)
        return value

    def gather(self, value: Tensor) -> list[Tensor]:
        """The tensors of one shape of all processes, in the order of their ranks, on the CPU."""
        if self.size == 1:
            return [value.cpu()]
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        mine = value.to(device)
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(parts, mine)
        return [part.cpu() for part in parts]

    def mean(self, values: list[float], share: float, device: torch.device) -> list[float]:
        """Means over all samples, from those over this process's; for ``share`` see ``Batch``."""
        if self.size == 1:
            return values
        mine = torch.tensor(values, dtype=torch.float64, device=device) * (share / self.size)
        return self.sum(mine).tolist()

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Averages the gradients over the processes, in place."""
        if self.size > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    self.sum(parameter.grad).div_(self.size)


def _leave() -> None:
    """Closes the connections; a process that ends while a thread of theirs runs may abort."""
    gc.collect()  # of DistributedDataParallel, which holds them
    if dist.is_initialized():
        dist.destroy_process_group()


SINGLE_PROCESS = ProcessGroup()
