"""Timing in turns: what a slow moment of the machine costs, it costs all implementations alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

MIN_ROUNDS = 7
# A turn lasts about this long, so that a short call is timed several times in a row.
TURN_SECONDS = 0.03


@dataclass(frozen=True)
class Implementation:
    """One way to compute a problem.

    Attributes:
        name: as the table prints it.
        group: what ``--peers`` selects: "pyneural", "eager", "compile", "func", "jax".
        build: problem -> call; call() -> tensors that ``validate`` compares. May raise ImportError
            (reported as absent) or anything that the peer's compiler raises.
        compiles: whether the first call at a shape compiles, which keeps memory that is no part
            of the computation.
        device_clock: whether the work is on torch's current CUDA stream, where there is one.
    """

    name: str
    group: str
    build: Callable[[Any], Callable[[], Any]]
    compiles: bool = False
    device_clock: bool = True


@dataclass(frozen=True)
class Summary:
    """Seconds of one implementation: median, quartiles and minimum over ``count`` calls."""

    median: float
    low: float
    high: float
    minimum: float
    count: int

    @staticmethod
    def of(seconds: list[float]) -> Summary:
        if len(seconds) == 1:
            return Summary(*(seconds * 4), 1)
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return Summary(median, low, high, min(seconds), len(seconds))


def host_seconds(call: Callable[[], Any]) -> float:
    """Seconds of one call by the host's clock; the call must wait for its own result."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def device_seconds(call: Callable[[], Any]) -> float:
    """Seconds of one call between two events on the current CUDA stream."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def time_in_turns(
    calls: dict[str, Callable[[], Any]],
    clocks: dict[str, Callable[[Callable[[], Any]], float]],
    seconds: float,
    min_rounds: int = MIN_ROUNDS,
) -> dict[str, list[float]]:
    """Seconds of every call, taken in rounds until each has run for about ``seconds`` in all.

    In a round each call has one turn: one call that is not timed, since caches and thread pools
    still belong to the one before, then timed ones. The order rotates from round to round.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, min(20, int(TURN_SECONDS / max(clocks[name](call), 1e-6))))
    names = list(calls)
    rounds, start = 0, time.perf_counter()
    while rounds < min_rounds or time.perf_counter() - start < seconds * len(names):
        shift = rounds % len(names)
        for name in names[shift:] + names[:shift]:
            calls[name]()
            samples[name] += [clocks[name](calls[name]) for _ in range(repeats[name])]
        rounds += 1
    return samples
