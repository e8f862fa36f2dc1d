"""The problems of examples/pde, solved here and by DeepXDE: error, and seconds of training.

Both have the same network and number of points, in float64: pyneural is trained by
Levenberg-Marquardt, DeepXDE, which has no such solver, by L-BFGS. The two are trained in turn;
medians over the seeds are shown. Where DeepXDE is not installed, and for problems that it has no
example of here, its column is empty.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import statistics
from functools import partial
from importlib import import_module

import torch

from bench.machine import describe, remark, use_threads
from bench.peers import pde_deepxde

EXAMPLES = (
    "robin_rod", "clamped_beam", "annulus", "l_shape", "inverse_source", "parametric_heat",
    "fourier_features", "integro_differential", "lorenz", "network_per_output",
)  # fmt: skip

ITERATIONS = {  # of L-BFGS, of the peer
    "robin_rod": 300, "clamped_beam": 400, "annulus": 300, "l_shape": 400, "inverse_source": 300,
    "parametric_heat": 300,
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", choices=EXAMPLES, default=EXAMPLES, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="seeds, each once (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    parser.add_argument("--steps", type=int, help="of pyneural; those of the example by default")


def run(options: argparse.Namespace) -> int:
    use_threads(options.threads)
    torch.set_default_dtype(torch.float64)
    machine = describe("cpu", options.threads)
    torch_version = machine["versions"]["torch"]
    print(f"examples/pde: {machine['cpu']}, {options.threads} threads, torch {torch_version}")
    if said := remark(machine):
        print(said)
    peers = pde_deepxde.PROBLEMS if importlib.util.find_spec("deepxde") else {}
    print(f"{'':<22}{'pyneural':>22}{'DeepXDE':>22}{'ratio':>8}")
    for name in options.case:
        main = import_module(f"examples.pde.{name}").main
        steps = options.steps or inspect.signature(main).parameters["steps"].default
        solvers = [partial(main, steps)]
        if name in peers:
            solvers.append(partial(peers[name], ITERATIONS[name]))
        runs = [[solve(seed) for solve in solvers] for seed in range(options.rounds)]
        print(f"{name:<22}{_row(runs)}", flush=True)
    return 0


def _row(runs: list[list[tuple[float, float]]]) -> str:
    """Errors, seconds, and how many times longer the peer takes."""
    errors = [statistics.median(error for error, _ in each) for each in zip(*runs, strict=True)]
    seconds = [statistics.median(time for _, time in each) for each in zip(*runs, strict=True)]
    shown = [f"{e:>12.1e}{s:>8.2f} s" for e, s in zip(errors, seconds, strict=True)]
    return "".join(shown) + (f"{seconds[1] / seconds[0]:>7.1f}x" if len(seconds) > 1 else "")
