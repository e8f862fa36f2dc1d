"""What ``Sequential.fit`` costs a step beyond forward, loss, backward and the optimiser's step.

The two are measured in turn on the network, batch and optimiser of a small problem, where every
call counts: fit on shuffled samples, and the bare calls on one batch that is already there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from pyneural.training import Sequential

BATCH, STEPS = 32, 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures")


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    rows = [
        measure(optimizer, metrics, options.rounds)
        for optimizer in ("sgd", "adam", "adadelta")
        for metrics in ([], ["mae"])
    ]
    print(f"microseconds a step, 8-8-1 network, batch {BATCH}, median of {options.rounds}")
    for row in rows:
        print(
            f"{row['optimizer']:9} {', '.join(row['metrics']) or 'no metric':10} "
            f"fit {row['fit']:6.1f}  bare {row['bare']:6.1f}  beyond {row['beyond']:5.1f}"
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"torch": torch.__version__, "rows": rows}, file, indent=1)
    return 0


def measure(optimizer: str, metrics: list[str], rounds: int) -> dict:
    """Microseconds a step of fit and of the bare calls, and the median difference."""
    torch.manual_seed(0)
    model = Sequential([nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)])
    model.compile(optimizer, "mse", metrics)
    x = torch.rand(BATCH * STEPS, 8)
    y = x.sum(1, keepdim=True)
    made, network = model.optimizer, nn.Sequential(*model.layers)
    x_batch, y_batch = x[:BATCH], y[:BATCH]

    def bare() -> None:
        for _ in range(STEPS):
            made.zero_grad()
            nn.functional.mse_loss(network(x_batch), y_batch).backward()
            made.step()

    def fit() -> None:
        model.fit(x, y, BATCH, verbose=0)

    times = [(_microseconds(fit), _microseconds(bare)) for _ in range(rounds + 1)][1:]
    return {
        "optimizer": optimizer,
        "metrics": metrics,
        "fit": statistics.median(first for first, _ in times),
        "bare": statistics.median(second for _, second in times),
        "beyond": statistics.median(first - second for first, second in times),
    }


def _microseconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) / STEPS * 1e6
