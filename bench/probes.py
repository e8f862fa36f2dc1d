"""What the machine can do at most: multiply-adds and copied bytes a second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

import pyneural.ops  # noqa: F401  registers the probe's op

PROBE_SECONDS = 0.05


def multiply_add_probe(
    dtype: torch.dtype, threads: int, seconds: float = PROBE_SECONDS
) -> Callable[[], float]:
    """A call that measures FLOP/s of register-resident fused multiply-adds on all threads.

    Two operations a multiply-add and lane. It is a call, not a figure, so that the bench can take
    it in turns with what it is the measure of.
    """
    name = str(dtype).removeprefix("torch.")
    return lambda: float(torch.ops.pyneural.multiply_add_probe(name, threads, seconds))


def matrix_product_probe(dtype: torch.dtype, device: str, size: int = 8192) -> Callable[[], float]:
    """FLOP/s of a large matrix product by torch: the measure on CUDA, at torch's precision."""
    a, b = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(a)

    def measure() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        torch.mm(a, b, out=out)
        end.record()
        end.synchronize()
        return 2e3 * size**3 / start.elapsed_time(end)

    return measure


def copy_bandwidth(device: str, bytes_: int = 1 << 28, repeats: int = 9) -> float:
    """Bytes a second, read and written both counted, of a copy too large for the caches."""
    source = torch.ones(bytes_ // 4, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        target.copy_(source)
        if source.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * bytes_ / statistics.median(seconds[1:])


def memory_probe(bytes_: int = 1 << 28) -> Callable[[], float]:
    """Bytes a second, read and written both counted, of an update in place on the CPU.

    A copy has its target read as well before it is written, which no count of its bytes shows.
    """
    values = torch.ones(bytes_ // 4)

    def measure() -> float:
        start = time.perf_counter()
        values.mul_(1.0)
        return 2 * bytes_ / (time.perf_counter() - start)

    return measure
